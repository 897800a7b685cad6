package e2e_test

import (
	"fmt"
	"testing"

	"github.com/portolan-net/portolan/test/e2e/internal/traffic"
)

// countTraffic is while a conversation with web goes on, which has begun before.
func (w *world) countTraffic(t *testing.T) {
	const connections = 40
	of := func(name, labels string) float64 {
		value, _ := figure(t, "127.0.0.1:10249", fmt.Sprintf(`portolan_agent_service_%s{%snamespace="e2e",service="web"}`, name, labels))
		return value
	}
	// What has begun until now is counted after a second.
	var before float64
	eventually(t, func() error {
		last := before
		if before = of("connections_total", ""); before == 0 || before != last || of("open_connections", "") < 1 {
			return fmt.Errorf("%v connections, %v open", before, of("open_connections", ""))
		}
		return nil
	})
	for range connections {
		need(traffic.Ask(w.client, w.web))(t)
	}
	eventually(t, func() error {
		began, sent, received := of("connections_total", "")-before, of("bytes_total", `direction="request",`), of("bytes_total", `direction="reply",`)
		const handshake = 3 * 40 // Bytes of headers without options.
		if began < connections || sent < connections*handshake || received < connections*handshake {
			return fmt.Errorf("%v connections began, with %v bytes sent and %v received: want %d connections", began, sent, received, connections)
		}
		return nil
	})
}
