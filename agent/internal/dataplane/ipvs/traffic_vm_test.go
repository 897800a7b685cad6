//go:build vm

package ipvs

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
	meter "github.com/portolan-net/portolan/agent/internal/traffic"
)

// TestConnectionsByIPVSAreCounted from the connection table, as those by nftables are.
func TestConnectionsByIPVSAreCounted(t *testing.T) {
	const (
		node        = "10.9.0.1"
		connections = 7
		sends       = 5000
		soon        = time.Minute
	)
	k := open(t)
	for path, value := range map[string]string{"ipv4/vs/conntrack": "1", "netfilter/nf_conntrack_acct": "1"} {
		must(t, os.WriteFile("/proc/sys/net/"+path, []byte(value), 0))
	}
	nft := exec.Command("nft", "-f", "-") // Without a rule that asks for it there is no table.
	nft.Stdin = strings.NewReader("table ip tracked {\nchain output {\ntype filter hook output priority 0;\nct state new accept\n}\n}\n")
	if out, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("nft", "delete", "table", "ip", "tracked").Run() })
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	own := host(netip.MustParseAddr(node))
	must(t, netlink.AddrReplace(lo, own))
	t.Cleanup(func() { _ = netlink.AddrDel(lo, own) })
	d, err := openDummy(false)
	must(t, err)
	defer d.close()
	s := server{Key: key(state.TCP, "10.96.0.1:80"), scheduler: "rr"}
	must(t, d.bind(s.Addr))
	defer func() { _ = d.remove() }()
	must(t, do(k, step{addServer, s, destination{}}, step{addDestination, s, destination{netip.MustParseAddrPort(node + ":8080"), 1}}))
	listener, err := net.Listen("tcp", node+":8080")
	must(t, err)
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()

	m := meter.New(100*time.Millisecond, hclog.NewNullLogger())
	m.Update([]ruleset.Change{{New: &ruleset.Frontend{Key: s.Key, Service: "d/web"}}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	time.Sleep(time.Second) // Until it has seen that there is nothing yet.
	for range connections {
		conn, err := net.DialTimeout("tcp", s.Addr.String()+":80", soon)
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(soon)))
		_, err = conn.Write(make([]byte, sends))
		must(t, err)
		_, err = io.CopyN(io.Discard, conn, sends)
		must(t, err)
		must(t, conn.Close())
	}
	var counts []meter.Count
	right := func() bool {
		counts = m.Counts()
		return len(counts) == 1 && counts[0].Connections == connections && counts[0].RequestBytes >= connections*sends && counts[0].ReplyBytes >= connections*sends
	}
	for begun := time.Now(); !right(); time.Sleep(100 * time.Millisecond) {
		if time.Since(begun) > soon {
			t.Errorf("%d connections of %d bytes and as many back: %+v", connections, sends, counts)
			break
		}
	}
	t.Logf("%+v", counts)
	cancel()
	must(t, <-done)
}
