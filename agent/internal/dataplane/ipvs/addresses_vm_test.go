//go:build vm

package ipvs

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// TestAddressesAreReadWhileOthersChange some of their own, as pods that come and go do: the
// kernel then says that its list may be wrong.
func TestAddressesAreReadWhileOthersChange(t *testing.T) {
	const services = 1000
	d, err := openDummy(false)
	must(t, err)
	defer d.close()
	for n := range services {
		must(t, d.bind(netip.AddrFrom4([4]byte{10, 96, byte(n >> 8), byte(n)})))
	}
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	done, changed := make(chan struct{}), make(chan error)
	go func() {
		others := host(netip.MustParseAddr("192.0.2.77"))
		for {
			for _, change := range []func(netlink.Link, *netlink.Addr) error{netlink.AddrAdd, netlink.AddrDel} {
				if err := change(lo, others); err != nil {
					changed <- err
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			select {
			case <-done:
				changed <- nil
				return
			default:
			}
		}
	}()
	for range 100 {
		if bound, err := d.bound(); err != nil || len(bound) != services {
			t.Errorf("%d addresses, error %v", len(bound), err)
		}
	}
	close(done)
	must(t, <-changed)
	for n := range services {
		must(t, d.unbind(netip.AddrFrom4([4]byte{10, 96, byte(n >> 8), byte(n)})))
	}
	must(t, d.remove())
}
