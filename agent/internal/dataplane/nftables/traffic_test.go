package nftables

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
)

// backend is a real server behind the ClusterIP.
type backend struct {
	addr     netip.AddrPort
	accepted atomic.Int64
}

// serveBackends puts addresses on a link and listens on each.
func serveBackends(t testing.TB, n int) []*backend {
	t.Helper()
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "pods0"}}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []netlink.Link{link, loopback} {
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
	// Connections to the ClusterIP need a route to leave by before they are
	// translated.
	addAddress(t, link, "10.244.255.1/16")
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4(10, 96, 0, 0).To4(), Mask: net.CIDRMask(16, 32)}}); err != nil {
		t.Fatal(err)
	}
	var backends []*backend
	for i := range n {
		b := &backend{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, 0, byte(i + 1)}), 8080)}
		addAddress(t, link, b.addr.Addr().String()+"/32")
		b.listen(t)
		backends = append(backends, b)
	}
	return backends
}

func addAddress(t testing.TB, link netlink.Link, cidr string) {
	t.Helper()
	ip, network, err := net.ParseCIDR(cidr)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: network.Mask}}); err != nil {
		t.Fatal(err)
	}
}

func (b *backend) listen(t testing.TB) {
	listener, err := net.Listen("tcp", b.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b.accepted.Add(1)
			_, _ = conn.Write([]byte{b.addr.Addr().As4()[3]})
			_ = conn.Close()
		}
	}()
}

// absence is a time for which a backend is taken away.
type absence struct{ gone *backend }

// clients make connections to the ClusterIP.
type clients struct {
	made   atomic.Int64
	failed chan error
	// absence is the present one, if there is one.
	absence atomic.Pointer[absence]
	running sync.WaitGroup
}

func startClients(ctx context.Context, n int) *clients {
	c := &clients{failed: make(chan error, n)}
	for range n {
		c.running.Go(func() {
			for ctx.Err() == nil {
				if err := c.connect(); err != nil {
					c.failed <- err
					return
				}
			}
		})
	}
	return c
}

// connect makes a connection. One that begins and ends while a backend is absent must
// not come to it.
func (c *clients) connect() error {
	before := c.absence.Load()
	conn, err := net.DialTimeout("tcp", "10.96.0.1:80", 5*time.Second)
	if err != nil {
		return err
	}
	var who [1]byte
	_, err = conn.Read(who[:])
	after := c.absence.Load()
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
	c.made.Add(1)
	if before != nil && before == after && err == nil && before.gone.addr.Addr().As4()[3] == who[0] {
		return fmt.Errorf("%s got a connection after it was taken away", before.gone.addr)
	}
	return err
}

// wait waits for the clients' end and reports their failures.
func (c *clients) wait(t testing.TB) {
	t.Helper()
	c.running.Wait()
	close(c.failed)
	for err := range c.failed {
		t.Errorf("a connection failed: %v", err)
	}
}

// TestNoConnectionIsLostWhileEndpointsChange flips the endpoints of one Service as
// fast as it can under new connections. None may fail, although a commit falls
// between a packet's look-ups again and again, and none may go to an endpoint that
// a commit has taken away.
func TestNoConnectionIsLostWhileEndpointsChange(t *testing.T) {
	for name, change := range map[string]func(*state.Service, int){
		"at random": func(*state.Service, int) {},
		// In turn, each number of endpoints has a chain of its own, which comes and goes.
		"in turn":   func(s *state.Service, _ int) { s.Scheduler = "rr" },
		"by a hash": func(s *state.Service, _ int) { s.Scheduler = "mh" },
		"in all ways": func(s *state.Service, i int) {
			s.Scheduler = []string{"", "rr", "sh", "dh", "mh", "wrr", "fo"}[i/3%7]
		},
	} {
		t.Run(name, func(t *testing.T) { changeEndpointsUnderConnections(t, change) })
	}
}

func changeEndpointsUnderConnections(t *testing.T, change func(s *state.Service, i int)) {
	plane, table := open(t), ruleset.NewTable()
	backends := serveBackends(t, 10)
	applied := 0
	apply := func(serving []*backend) {
		v := clusterView(serving)
		change(v.Service, applied)
		applied++
		changes := update(table, v)
		if err := plane.Apply(context.Background(), &changes); err != nil {
			t.Fatal(err)
		}
	}
	update(table, clusterView(backends))
	if err := plane.Replace(context.Background(), testSettings, table); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c := startClients(ctx, 4)
	flips := 0
	for ; ctx.Err() == nil; flips++ {
		gone := backends[flips%len(backends)]
		apply(slices.DeleteFunc(slices.Clone(backends), func(b *backend) bool { return b == gone }))
		if flips%50 == 0 {
			c.absence.Store(&absence{gone})
			time.Sleep(20 * time.Millisecond)
			c.absence.Store(nil)
			if _, err := plane.Collect(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		apply(backends)
	}
	c.wait(t)
	t.Logf("%d connections during %d changes", c.made.Load(), 2*flips)
	for _, b := range backends {
		if b.accepted.Load() == 0 {
			t.Errorf("%s was never reached", b.addr)
		}
	}
}

func clusterView(serving []*backend) ruleset.View {
	group := state.Group{Ports: []state.EndpointPort{{Protocol: state.TCP, Port: 8080}}}
	var list []state.Endpoint
	for _, b := range serving {
		list = append(list, state.Endpoint{Addr: b.addr.Addr()})
	}
	group.Endpoints = state.PackEndpoints(list...)
	return ruleset.View{
		Service: &state.Service{Name: "demo/web", ClusterIPs: addrs("10.96.0.1"), Ports: []state.Port{{Protocol: state.TCP, Port: 80}}},
		Sets:    []*state.EndpointSet{{Name: "demo/web-1", Service: "demo/web", Groups: []state.Group{group}}},
	}
}

// TestNoConnectionIsLostWhileTheSettingsChange: other rules come into the chains that there
// are, and what is remembered of clients stays.
func TestNoConnectionIsLostWhileTheSettingsChange(t *testing.T) {
	both, table := open(t), ruleset.NewTable()
	backends := serveBackends(t, 10)
	update(table, clusterView(backends))
	replace := func(settings dataplane.Settings) {
		if err := both.Replace(context.Background(), settings, table); err != nil {
			t.Fatal(err)
		}
	}
	replace(testSettings)
	handles := chainHandles(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c := startClients(ctx, 4)
	changes := 0
	for ; ctx.Err() == nil; changes++ {
		settings := testSettings
		settings.MasqueradeAll, settings.TCPBeLiberal = changes%2 == 0, changes%3 == 0
		replace(settings)
	}
	c.wait(t)
	t.Logf("%d connections during %d changes of the settings", c.made.Load(), changes)
	if now := chainHandles(t); len(now) == 0 || !slices.Equal(now, handles) {
		t.Errorf("chains were made anew: %v, were %v", now, handles)
	}
	replace(testSettings)
	again := openPlanes(t)
	if err := again.each(func(p *Plane) error {
		if !p.Adopt(context.Background(), testSettings, table) {
			return fmt.Errorf("the rules of %s are not those of the settings", p.Family())
		}
		return p.Close()
	}); err != nil {
		t.Error(err)
	}
}

// chainHandles returns our chains with the kernel's numbers of them, as nft prints them.
func chainHandles(t *testing.T) []string {
	t.Helper()
	listing, err := exec.Command("nft", "--handle", "list", "table", "ip", tableName).Output()
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`chain \S+ { # handle \d+`).FindAllString(string(listing), -1)
}

// TestNoConnectionIsLostWhileTheRulesAreReplaced replaces everything again and
// again, by more and by fewer endpoints, as an agent does when it starts or after an
// error.
func TestNoConnectionIsLostWhileTheRulesAreReplaced(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	backends := serveBackends(t, 10)
	update(table, clusterView(backends))
	replace := func() {
		if err := plane.Replace(context.Background(), testSettings, table); err != nil {
			t.Fatal(err)
		}
	}
	replace()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c := startClients(ctx, 4)
	replacements := 0
	for ; ctx.Err() == nil; replacements++ {
		fewer := len(backends) - replacements%2*(1+replacements/2%(len(backends)-1))
		update(table, clusterView(backends[:fewer]))
		replace()
	}
	c.wait(t)
	t.Logf("%d connections during %d replacements", c.made.Load(), replacements)
}
