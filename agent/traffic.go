package agent

import (
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/traffic"
)

// newMeter returns what counts the traffic of Services, or nil. Where the kernel cannot be told
// to count bytes, connections are counted.
func newMeter(config Config) *traffic.Meter {
	if config.ServiceTrafficPeriod == 0 {
		return nil
	}
	logger := config.Logger.Named("traffic")
	if err := kernel().ApplyAccounting().Err(); err != nil {
		logger.Warn("the kernel does not count all of what Services carry", "error", err)
	}
	return traffic.New(config.ServiceTrafficPeriod, logger)
}

// frontends is who is told of frontends, or nil.
func frontends(meter *traffic.Meter) func([]ruleset.Change) {
	if meter == nil {
		return nil
	}
	return meter.Update
}
