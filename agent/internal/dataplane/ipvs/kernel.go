package ipvs

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/moby/ipvs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
)

// Flags of a virtual server, IP_VS_SVC_F_* of linux/ip_vs.h.
const (
	flagPersistent = 1 << 0
	// flagScheduler1 and flagScheduler2 belong to the scheduler: fallback and port for sh
	// and mh.
	flagScheduler1 = 1 << 3
	flagScheduler2 = 1 << 4

	// flagsOfOurs leaves out what the kernel sets itself: that the server is in its table.
	flagsOfOurs = flagPersistent | flagScheduler1 | flagScheduler2
)

// server is a virtual server.
type server struct {
	ruleset.Key
	scheduler string
	flags     uint32
	// persistence is how long a client keeps its destination, in whole seconds; zero means
	// not at all.
	persistence time.Duration
}

// destination is where a virtual server sends connections. Weight 0 keeps those that it
// has and gets no new ones.
type destination struct {
	backend netip.AddrPort
	weight  int
}

// connections are what a destination has, as the kernel counts them.
type connections struct {
	active, inactive int
}

func (c connections) any() bool { return c.active+c.inactive > 0 }

// timeouts are the kernel's for the states of connections; zero keeps what is in force.
type timeouts struct {
	tcp, tcpFin, udp time.Duration
}

// kernel is IPVS in a network namespace.
type kernel interface {
	// servers returns the virtual servers of a family.
	servers(is6 bool) ([]server, error)
	destinations(of ruleset.Key) (map[destination]connections, error)
	// run makes steps in their order, and all of them whatever fails. It returns what became
	// of each.
	run(steps []step) []error
	setTimeouts(t timeouts) error
	close()
}

// moby is the kernel by way of the library, but for what is written in bulk.
type moby struct {
	handle *ipvs.Handle
	*writer
}

// loadedFile is there while the module ip_vs is.
const loadedFile = "/proc/net/ip_vs"

// openKernel opens the network namespace of the calling thread.
func openKernel() (*moby, error) {
	if _, err := os.Stat(loadedFile); err == nil {
		// The library runs modprobe when it is first used.
		path := os.Getenv("PATH")
		_ = os.Setenv("PATH", "")
		defer func() { _ = os.Setenv("PATH", path) }()
	}
	logrus.SetOutput(io.Discard) // What the library logs it also returns.
	handle, err := ipvs.New("")
	if err != nil {
		return nil, fmt.Errorf("opening IPVS: %w", err)
	}
	if _, err := os.Stat(loadedFile); err != nil {
		// The library goes on, to a netlink family that takes everything and does nothing.
		handle.Close()
		return nil, errNoIPVS
	}
	writer, err := openWriter()
	if err != nil {
		handle.Close()
		return nil, err
	}
	return &moby{handle, writer}, nil
}

var errNoIPVS = errors.New("mode ipvs: the kernel has no IPVS: expected the module ip_vs (modprobe ip_vs), or mode nftables for this node")

func (m *moby) close() {
	m.handle.Close()
	m.writer.close()
}

func (m *moby) servers(is6 bool) ([]server, error) {
	all, err := m.handle.GetServices()
	if err != nil {
		return nil, fmt.Errorf("reading the virtual servers: %w", err)
	}
	var list []server
	for _, s := range all {
		// A server of a firewall mark is somebody else's: it has no address.
		if s.FWMark != 0 || (s.AddressFamily == unix.AF_INET6) != is6 {
			continue
		}
		if parsed, ok := parseServer(s); ok {
			list = append(list, parsed)
		}
	}
	return list, nil
}

func parseServer(s *ipvs.Service) (server, bool) {
	addr, ok := netip.AddrFromSlice(s.Address)
	if !ok {
		return server{}, false
	}
	var protocol state.Protocol
	switch s.Protocol { // a Protocol is the number the kernel uses
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP:
		protocol = state.Protocol(s.Protocol)
	default:
		return server{}, false
	}
	parsed := server{
		Key: ruleset.Key{Addr: addr, Protocol: protocol, Port: s.Port}, scheduler: s.SchedName, flags: s.Flags & flagsOfOurs,
	}
	if s.Flags&flagPersistent != 0 {
		parsed.persistence = time.Duration(s.Timeout) * time.Second
	}
	return parsed, true
}

// library returns the library's form of a key: what names a virtual server.
func library(key ruleset.Key) *ipvs.Service {
	s := &ipvs.Service{Address: key.Addr.AsSlice(), Protocol: uint16(key.Protocol), Port: key.Port, AddressFamily: unix.AF_INET, Netmask: 0xffffffff}
	if key.Addr.Is6() {
		s.AddressFamily, s.Netmask = unix.AF_INET6, 128
	}
	return s
}

func (m *moby) destinations(of ruleset.Key) (map[destination]connections, error) {
	all, err := m.handle.GetDestinations(library(of))
	if err != nil {
		return nil, fmt.Errorf("reading the destinations of %s: %w", of, err)
	}
	list := make(map[destination]connections, len(all))
	for _, d := range all {
		addr, ok := netip.AddrFromSlice(d.Address)
		if !ok {
			continue
		}
		list[destination{netip.AddrPortFrom(addr, d.Port), d.Weight}] = connections{d.ActiveConnections, d.InactiveConnections}
	}
	return list, nil
}

func (m *moby) setTimeouts(t timeouts) error {
	for name, d := range map[string]time.Duration{"tcp": t.tcp, "tcpfin": t.tcpFin, "udp": t.udp} {
		if d != 0 && d < time.Second {
			return fmt.Errorf("IPVS timeout %s %s: expected whole seconds", name, d)
		}
	}
	if err := m.handle.SetConfig(&ipvs.Config{TimeoutTCP: t.tcp, TimeoutTCPFin: t.tcpFin, TimeoutUDP: t.udp}); err != nil {
		return fmt.Errorf("setting IPVS timeouts: %w", err)
	}
	return nil
}
