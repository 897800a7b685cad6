package traffic

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

const (
	node     = "10.9.0.1"
	endpoint = node + ":8080"
	// sends and answers are how much a connection carries.
	sends, answers = 1000, 3000
	soon           = 20 * time.Second
)

func key(protocol state.Protocol, text string) ruleset.Key {
	at := netip.MustParseAddrPort(text)
	return ruleset.Key{Addr: at.Addr(), Protocol: protocol, Port: at.Port()}
}

var (
	web  = &ruleset.Frontend{Key: key(state.TCP, "10.96.0.1:80"), Service: "d/web"}
	dns  = &ruleset.Frontend{Key: key(state.UDP, "10.96.0.2:53"), Service: "d/dns"}
	idle = &ruleset.Frontend{Key: key(state.TCP, "10.96.0.3:80"), Service: "d/idle"}
)

// serve sets up a node with an endpoint behind two frontends.
func serve(t testing.TB) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	check(err)
	check(netlink.LinkSetUp(lo))
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(node), Mask: net.CIDRMask(24, 32)}}
	check(netlink.AddrReplace(lo, address))
	_, services, _ := net.ParseCIDR("10.96.0.0/16")
	check(netlink.RouteReplace(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: services, Src: address.IP}))
	command := exec.Command("nft", "-f", "-")
	command.Stdin = strings.NewReader(`table ip traffictest
delete table ip traffictest
table ip traffictest {
chain output {
  type nat hook output priority -100;
  ip daddr . tcp dport { 10.96.0.1 . 80 } dnat to ` + endpoint + `
  ip daddr . udp dport { 10.96.0.2 . 53 } dnat to ` + endpoint + `
}
}
`)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("nft", "delete", "table", "ip", "traffictest").Run() })
	check(os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_acct", []byte("1"), 0))
	listener, err := net.Listen("tcp", endpoint)
	check(err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				for {
					if _, err := io.CopyN(io.Discard, conn, sends); err != nil {
						_ = conn.Close()
						return
					}
					_, _ = conn.Write(make([]byte, answers))
				}
			}()
		}
	}()
	packets, err := net.ListenPacket("udp", endpoint)
	check(err)
	t.Cleanup(func() { _ = packets.Close() })
	go func() {
		buffer := make([]byte, 2*sends)
		for {
			n, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(buffer[:n], from)
		}
	}()
}

// dial connects to a destination.
func dial(t testing.TB, network, to string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(network, to, soon)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// exchange carries one request and its answer.
func exchange(t testing.TB, conn net.Conn, answer int64) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(soon))
	if _, err := conn.Write(make([]byte, sends)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, conn, answer); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, period time.Duration) *Meter {
	t.Helper()
	m, stop := run(t, period)
	t.Cleanup(stop)
	return m
}

// run starts a meter, and returns what stops it.
func run(t testing.TB, period time.Duration) (*Meter, func()) {
	m := New(period, hclog.NewNullLogger())
	m.Update([]ruleset.Change{{New: web}, {New: dns}, {New: idle}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	return m, func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(soon):
			t.Error("the meter does not stop")
		}
	}
}

// of returns the count of a Service.
func of(m *Meter, service string) Count {
	for _, c := range m.Counts() {
		if c.Service == service {
			return c
		}
	}
	return Count{Service: service}
}

// eventually waits until a count is what is wanted.
func eventually(t testing.TB, what string, m *Meter, service string, right func(Count) bool) {
	t.Helper()
	for begun := time.Now(); !right(of(m, service)); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > soon {
			t.Fatalf("%s: %+v", what, of(m, service))
		}
	}
}

// TestConnectionsAndBytesAreCountedFromTheTable while they go on.
func TestConnectionsAndBytesAreCountedFromTheTable(t *testing.T) {
	serve(t)
	before := dial(t, "tcp", web.Addr.String()+":80")
	for range 10 { // That nobody counted.
		exchange(t, before, answers)
	}
	m := start(t, 20*time.Millisecond)
	eventually(t, "the connection that is there is open", m, "d/web", func(c Count) bool { return c.Open == 1 })
	for range 5 {
		conn := dial(t, "tcp", web.Addr.String()+":80")
		exchange(t, conn, answers)
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stays := dial(t, "tcp", web.Addr.String()+":80")
	exchange(t, stays, answers)
	eventually(t, "six began, of which one goes on, beside the one from before", m, "d/web", func(c Count) bool {
		return c.Connections == 6 && c.Open == 2 && c.RequestBytes >= 6*sends && c.RequestBytes < 12*sends && c.ReplyBytes >= 6*answers && c.ReplyBytes < 12*answers
	})
	base := of(m, "d/web")
	for range 50 {
		exchange(t, before, answers)
	}
	eventually(t, "what grows is counted, whoever counted it before", m, "d/web", func(c Count) bool {
		return c.Connections == 6 && c.RequestBytes-base.RequestBytes >= 50*sends && c.RequestBytes < base.RequestBytes+100*sends && c.ReplyBytes-base.ReplyBytes >= 50*answers
	})
	exchange(t, dial(t, "udp", dns.Addr.String()+":53"), sends)
	eventually(t, "a datagram and its answer", m, "d/dns", func(c Count) bool {
		return c == Count{Service: "d/dns", Connections: 1, Open: 1, RequestBytes: sends + 28, ReplyBytes: sends + 28}
	})
	exchange(t, dial(t, "tcp", endpoint), answers)
	time.Sleep(100 * time.Millisecond)
	if list := m.Counts(); len(list) != 2 || list[1].Connections != 6 {
		t.Errorf("what is for no Service, or a Service without connections, is counted: %+v", list)
	}
	m.Update([]ruleset.Change{{Old: dns}})
	if list := m.Counts(); len(list) != 1 {
		t.Errorf("a Service that is gone is counted: %+v", list)
	}
}

// short makes a connection that the kernel forgets at once.
func short(t testing.TB) {
	t.Helper()
	exchange(t, dial(t, "udp", dns.Addr.String()+":53"), sends)
	forget(t)
}

// forget empties the connection table.
func forget(t testing.TB) {
	t.Helper()
	if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		t.Fatal(err)
	}
}

// listening waits until a meter hears of connections that end, by such connections.
func listening(t testing.TB, m *Meter) {
	t.Helper()
	for begun := time.Now(); of(m, "d/dns").Connections == 0; time.Sleep(2 * gather) {
		if time.Since(begun) > soon {
			t.Fatal("it does not begin to listen")
		}
		short(t)
	}
	time.Sleep(4 * gather)
}

// TestConnectionsTooShortForTheTableAreCounted when they end.
func TestConnectionsTooShortForTheTableAreCounted(t *testing.T) {
	serve(t)
	m := start(t, time.Hour)
	listening(t, m)
	base := of(m, "d/dns")
	for range 20 {
		short(t)
	}
	eventually(t, "all twenty", m, "d/dns", func(c Count) bool { return c.Connections == base.Connections+20 })
	if c := of(m, "d/dns"); c.RequestBytes-base.RequestBytes != 20*(sends+28) || c.ReplyBytes-base.ReplyBytes != 20*(sends+28) {
		t.Errorf("bytes of twenty datagrams of %d and their answers: %+v after %+v", sends, c, base)
	}
	if m.Lost() > 0 {
		t.Errorf("%d times some were lost", m.Lost())
	}
}

// TestAFrontendThatMovesIsItsNewOwners from then on; the last frontend takes its Service away.
func TestAFrontendThatMovesIsItsNewOwners(t *testing.T) {
	m := New(time.Hour, hclog.NewNullLogger())
	other := *web
	other.Service = "d/other"
	m.Update([]ruleset.Change{{New: web}})
	m.see(&flow{id: flowID{number: 1}, to: web.Key, translated: true, sent: 10}, false)
	m.Update([]ruleset.Change{{Old: web, New: &other}})
	m.see(&flow{id: flowID{number: 2}, to: web.Key, translated: true, sent: 7}, false)
	m.see(&flow{id: flowID{number: 1}, to: web.Key, translated: true, sent: 20}, false)
	m.see(&flow{id: flowID{number: 3}, to: web.Key, sent: 5}, false) // Nobody translates it.
	if list := m.Counts(); len(list) != 1 || list[0] != (Count{Service: "d/other", Connections: 1, RequestBytes: 7}) {
		t.Errorf("%+v", list)
	}
	m.Update([]ruleset.Change{{Old: &other}, {New: dns}, {Old: idle}})
	if len(m.Counts()) != 0 || len(m.services) != 1 || len(m.frontends) != 1 {
		t.Errorf("%v, %v", m.services, m.frontends)
	}
}

// FuzzFlow: no message of the kernel's, or of anybody, makes the decoder fail.
func FuzzFlow(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 8, 0, 12, 0, 0, 0, 0, 1})
	f.Add([]byte{2, 0, 0, 0, 20, 0, 1, 128, 12, 0, 1, 128, 8, 0, 2, 0, 10, 96, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, ok := parseFlow(b); ok && (!got.to.Addr.IsValid() || got.to.Port == 0) {
			t.Errorf("%+v", got)
		}
		for range flowsOf(b, entryMessage) {
		}
	})
}
