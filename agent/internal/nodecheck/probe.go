package nodecheck

import (
	"context"
	"strings"

	"github.com/portolan-net/portolan/agent/internal/conntrack"
	"github.com/portolan-net/portolan/agent/internal/dataplane/ipvs"
	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
)

// Probed says by the name of each probe what the kernel refused; empty if nothing.
type Probed map[string]string

// The probes beside those of nftables.
const (
	probeConntrack  = "conntrack"
	probeIPVS       = "ipvs"
	probeSchedulers = "ipvs-schedulers"
	probeDummy      = "dummy"
)

// Probe tries what a node needs of its kernel. The network namespace of the process must be
// one to throw away.
func Probe(ctx context.Context) Probed {
	found := Probed{}
	note := func(name string, err error) {
		if found[name] = ""; err != nil {
			found[name] = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
	}
	for _, probe := range nftables.Probes() {
		note(probe.Name, probe.Try(ctx))
	}
	note(probeConntrack, conntrack.Probe())
	note(probeDummy, ipvs.ProbeInterface())
	missing, err := ipvs.ProbeSchedulers()
	note(probeIPVS, err)
	found[probeSchedulers] = strings.Join(missing, ", ")
	return found
}
