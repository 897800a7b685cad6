package nodeaddr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/portolan-net/portolan/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

// bridge makes a link to put addresses on.
func bridge(t *testing.T) netlink.Link {
	t.Helper()
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "test0"}}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	return link
}

func TestWatchTellsOfAnAddressThatComes(t *testing.T) {
	link := bridge(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changed, err := Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, cidr := range []string{"192.0.2.7/24", "127.0.0.9/8"} {
		ip, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: network.Mask}}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("no word of a new address")
	}
	list, err := List("")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(list); got != "[192.0.2.7]" {
		t.Errorf("addresses %s, want the new one without loopback", got)
	}
	if but, err := List(link.Attrs().Name); err != nil || len(but) > 0 {
		t.Errorf("addresses without those of the interface: %v, %v", but, err)
	}
	cancel()
	for range changed {
	}
}

func TestForNodePorts(t *testing.T) {
	all := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("192.168.0.2"), netip.MustParseAddr("fd00::2"), netip.MustParseAddr("::1")}
	prefix := netip.MustParsePrefix
	tests := map[string]struct {
		cidrs []netip.Prefix
		want  string
	}{
		"no CIDR: every address but loopback":              {nil, "[10.0.0.2 192.168.0.2 fd00::2]"},
		"a CIDR restricts its own family":                  {[]netip.Prefix{prefix("192.168.0.0/16")}, "[192.168.0.2 fd00::2]"},
		"a CIDR of each family":                            {[]netip.Prefix{prefix("10.0.0.0/8"), prefix("fd01::/64")}, "[10.0.0.2]"},
		"a zero-length CIDR: every address but loopback":   {[]netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}, "[10.0.0.2 192.168.0.2 fd00::2]"},
		"loopback never answers, not even if it is listed": {[]netip.Prefix{prefix("127.0.0.0/8"), prefix("::1/128")}, "[]"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(ForNodePorts(all, test.cidrs)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestForListening is S65: the unspecified address where all of a family answer.
func TestForListening(t *testing.T) {
	all := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("192.168.0.2"), netip.MustParseAddr("fd00::2")}
	prefix := netip.MustParsePrefix
	for name, test := range map[string]struct {
		cidrs []netip.Prefix
		want  string
	}{
		"no CIDR":                   {nil, "[0.0.0.0 ::]"},
		"a CIDR of one family":      {[]netip.Prefix{prefix("192.168.0.0/16")}, "[192.168.0.2 ::]"},
		"a CIDR of each family":     {[]netip.Prefix{prefix("10.0.0.0/8"), prefix("fd00::/64")}, "[10.0.0.2 fd00::2]"},
		"a zero-length CIDR":        {[]netip.Prefix{prefix("0.0.0.0/0"), prefix("fd00::/64")}, "[0.0.0.0 fd00::2]"},
		"a CIDR without an address": {[]netip.Prefix{prefix("172.16.0.0/12"), prefix("fd01::/64")}, "[]"},
		"loopback answers nobody":   {[]netip.Prefix{prefix("127.0.0.0/8")}, "[::]"},
	} {
		if got := fmt.Sprint(ForListening(all, test.cidrs)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestWatchOutlivesItsSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		var current chan<- netlink.AddrUpdate
		attempts, ended := 0, atomic.Int32{}
		changed, err := watch(ctx, func(updates chan<- netlink.AddrUpdate, done <-chan struct{}) error {
			if attempts++; attempts == 2 {
				return errors.New("no buffer space")
			}
			current = updates
			go func() { <-done; ended.Add(1) }()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			close(current)
			time.Sleep(3 * subscribeAgain)
			synctest.Wait()
			select {
			case <-changed:
			default:
				t.Fatal("no word of the changes that may have been missed")
			}
		}
		cancel()
		close(current)
		if _, open := <-changed; open {
			t.Error("the channel stays open after the end")
		}
		synctest.Wait()
		if attempts != 5 || ended.Load() != 4 {
			t.Errorf("%d attempts, %d subscriptions ended: want 5 and 4", attempts, ended.Load())
		}
	})
}

func TestAListThatMayLackSomeIsAskedForAgain(t *testing.T) {
	asked := 0
	found, err := Whole(func() ([]netlink.Addr, error) {
		if asked++; asked < 3 {
			return nil, netlink.ErrDumpInterrupted
		}
		return make([]netlink.Addr, 2), nil
	})
	if err != nil || len(found) != 2 || asked != 3 {
		t.Errorf("%d addresses after %d questions, error %v", len(found), asked, err)
	}
}
