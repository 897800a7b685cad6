package nodecheck

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/portolan-net/portolan/api/check"
	"github.com/portolan-net/portolan/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

// loopback lets this namespace talk to itself.
func loopback(t *testing.T) {
	t.Helper()
	link, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
}

var now = time.Date(2026, time.November, 26, 12, 0, 0, 0, time.UTC)

// says tests a finding.
func says(t *testing.T, name string, got check.Finding, outcome check.Outcome, message string) {
	t.Helper()
	if got.Outcome != outcome || !strings.Contains(got.Message, message) {
		t.Errorf("%s: %s: %s\nwant %s: %s", name, got.Outcome, got.Message, outcome, message)
	}
	if (got.Outcome == check.Fail || got.Outcome == check.Warn) && got.Advice == "" {
		t.Errorf("%s: %s without advice", name, got.Message)
	}
}

// find runs one check.
func find(t *testing.T, config Config, id string) check.Finding {
	t.Helper()
	config.Limit = 10 * time.Second
	if config.Now == nil {
		config.Now = func() time.Time { return now }
	}
	for _, c := range Checks(t.Context(), config) {
		if c.ID == id {
			return c.Look(t.Context())
		}
	}
	t.Fatalf("no check %s", id)
	return check.Finding{}
}

// write writes files below a root of its own.
func write(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for path, content := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestEachCheckHasATitleAndAnIDOfItsOwn(t *testing.T) {
	var ids []string
	for _, c := range Checks(t.Context(), Config{}) {
		if c.Title == "" || c.Group == "" || c.Scope != check.Node || c.Look == nil || slices.Contains(ids, c.ID) {
			t.Errorf("%+v", c.Definition)
		}
		ids = append(ids, c.ID)
	}
}

func TestWhatTheKernelRefusedIsSaid(t *testing.T) {
	probed := Probed{"jhash": "IPv4: adding a rule: no such file or directory", "fib": "", "ipvs": "", "ipvs-schedulers": "mh, ovf"}
	config := Config{Probe: func(context.Context) (Probed, error) { return probed, nil }}
	says(t, "it has not", find(t, config, "kernel-nft-jhash"), check.Fail,
		"the kernel refused: IPv4: adding a rule: no such file or directory: expected CONFIG_NFT_HASH (modprobe nft_hash)")
	says(t, "it has", find(t, config, "kernel-nft-fib"), check.Pass, "tried in a namespace of its own")
	says(t, "another version", find(t, config, "kernel-nft-reject"), check.Skip, "was not made")
	says(t, "mode nftables", find(t, config, "kernel-ipvs"), check.Skip, "needed in mode ipvs alone")
	config.IPVS = true
	says(t, "mode ipvs", find(t, config, "kernel-ipvs"), check.Pass, "")
	says(t, "schedulers", find(t, config, "kernel-ipvs-schedulers"), check.Warn, "no IPVS scheduler mh, ovf")
	probed["ipvs"] = "no IPVS"
	says(t, "no IPVS", find(t, config, "kernel-ipvs-schedulers"), check.Fail, "no IPVS: expected CONFIG_IP_VS")
	config.Probe = func(context.Context) (Probed, error) { return nil, errors.New("not\nallowed") }
	says(t, "no namespace", find(t, config, "kernel-nft-fib"), check.Skip, "the kernel cannot be probed: not allowed")
}

func TestTheDefaultSchedulerIsNeeded(t *testing.T) {
	says(t, "all", judgeSchedulers(""), check.Pass, "rr, wrr")
	says(t, "the default", judgeSchedulers("rr, sh"), check.Fail, "expected the default, rr, at least")
}

// TestThisKernelIsProbed in the namespace of the tests.
func TestThisKernelIsProbed(t *testing.T) {
	probed := Probe(t.Context())
	for _, c := range (&node{Config: Config{}, probed: func() (Probed, error) { return probed, nil }}).kernelChecks() {
		if !strings.HasPrefix(c.ID, "kernel-nft-") && c.ID != "kernel-conntrack" {
			continue
		}
		says(t, c.ID, c.Look(t.Context()), check.Pass, "tried")
	}
}

func TestKernelVersions(t *testing.T) {
	for release, want := range map[string]check.Outcome{
		"5.4.0-200-generic": check.Fail, "4.18.0-553.el8": check.Fail, "5.6.0": check.Warn, "5.15.0-100-generic": check.Warn, "6.0.1": check.Warn,
		"6.1.0-41-amd64": check.Pass, "6.18.44": check.Pass, "7.0": check.Pass, "unknown": check.Skip,
	} {
		says(t, release, find(t, Config{Root: write(t, map[string]string{"proc/sys/kernel/osrelease": release + "\n"})}, "kernel-version"), want, release)
	}
}

func TestTheNodesIPv6(t *testing.T) {
	has := map[string]string{"proc/net/if_inet6": ""}
	says(t, "has it", find(t, Config{Root: write(t, has)}, "kernel-ipv6"), check.Pass, "IPv6")
	says(t, "has it not", find(t, Config{Root: t.TempDir()}, "kernel-ipv6"), check.Warn, "no IPv6")
	has["proc/sys/net/ipv6/conf/all/disable_ipv6"] = "1"
	says(t, "is disabled", find(t, Config{Root: write(t, has)}, "kernel-ipv6"), check.Warn, "no IPv6")
}

func TestForeignRulesAreFoundInTheKernel(t *testing.T) {
	config := Config{Before: true, Root: "/"}
	for _, id := range []string{"proxy-nftables", "proxy-iptables", "proxy-ipvs", "agent-leftovers"} {
		says(t, id, find(t, config, id), check.Pass, "there ")
	}
	says(t, "no tables", find(t, Config{Root: "/"}, "agent-tables"), check.Fail, "no table portolan of IPv4")
	says(t, "no anchor", find(t, Config{Root: "/"}, "agent-anchor"), check.Warn, "expected one of each family")
	nft(t, "add table ip kube-proxy; add table ip6 nat; add chain ip6 nat KUBE-SERVICES; add chain ip6 nat KUBE-SVC-X; add table ip filter; add chain ip filter KUBE-FIREWALL; add table ip portolan")
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "kube-ipvs0"}, PeerName: "peer"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nft(t, "flush ruleset")
		_ = netlink.LinkDel(link)
	})
	for _, before := range []bool{true, false} {
		config.Before = before
		outcome := check.Fail
		if before {
			outcome = check.Warn
		}
		says(t, "nftables", find(t, config, "proxy-nftables"), outcome, "table kube-proxy of IPv4")
		says(t, "iptables", find(t, config, "proxy-iptables"), outcome, "2 chains KUBE-SERVICES and the like in table nat of IPv6")
		says(t, "ipvs", find(t, config, "proxy-ipvs"), outcome, "interface kube-ipvs0")
	}
	says(t, "leftovers", find(t, Config{Before: true, Root: "/"}, "agent-leftovers"), check.Warn, "table portolan of IPv4: the agent takes them over")
	says(t, "half", find(t, Config{Root: write(t, nil)}, "agent-tables"), check.Warn, "IPv4 has layout 0: expected layout ")
}

func TestWhoListensOnAPortIsFound(t *testing.T) {
	loopback(t)
	listening, err := net.Listen("tcp", "127.0.0.1:10249")
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	says(t, "before", find(t, Config{Before: true, Root: "/"}, "agent-metrics-port"), check.Fail, "nodecheck.test (process ")
	says(t, "free", find(t, Config{Before: true, Root: "/"}, "agent-health-port"), check.Pass, "port 10256 is free")
	says(t, "after", find(t, Config{Root: "/"}, "agent-health-port"), check.Warn, "nobody listens on port 10256: expected portolan-agent")
}

// nft runs commands of nft's.
func nft(t *testing.T, commands string) {
	t.Helper()
	run(t, "nft", commands)
}
