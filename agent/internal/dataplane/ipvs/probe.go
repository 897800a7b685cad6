package ipvs

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/api/resource"
)

// ProbeSchedulers makes a virtual server with each scheduler and removes it again, and
// returns those that the kernel does not have. The network namespace, that of the calling
// thread, must be one to throw away.
func ProbeSchedulers() (missing []string, err error) {
	k, err := openKernel()
	if err != nil {
		return nil, err
	}
	defer k.close()
	server := library(ruleset.Key{Addr: netip.MustParseAddr("192.0.2.1"), Protocol: unix.IPPROTO_TCP, Port: 80})
	for _, scheduler := range resource.Schedulers {
		server.SchedName = scheduler
		switch err := k.handle.NewService(server); {
		case errors.Is(err, unix.ENOENT):
			missing = append(missing, scheduler)
		case err != nil:
			return nil, fmt.Errorf("adding a virtual server with scheduler %s: %w", scheduler, err)
		default:
			if err := k.handle.DelService(server); err != nil {
				return nil, fmt.Errorf("deleting a virtual server: %w", err)
			}
		}
	}
	return missing, nil
}

// ProbeInterface makes the interface for the addresses of Services and removes it again, in
// a namespace to throw away.
func ProbeInterface() error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening rtnetlink: %w", err)
	}
	defer handle.Close()
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: dataplane.ServiceInterface}}
	if err := handle.LinkAdd(link); err != nil {
		return fmt.Errorf("adding interface %s of type dummy: %w", dataplane.ServiceInterface, err)
	}
	if err := handle.LinkDel(link); err != nil {
		return fmt.Errorf("deleting interface %s: %w", dataplane.ServiceInterface, err)
	}
	return nil
}
