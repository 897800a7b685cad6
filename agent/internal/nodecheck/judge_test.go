package nodecheck

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
	"github.com/portolan-net/portolan/api/check"
)

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, output)
	}
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		id, path, value string
		outcome         check.Outcome
		message         string
	}{
		{"sysctl-ip-forward", "net/ipv4/ip_forward", "1", check.Pass, "net.ipv4.ip_forward is 1"},
		{"sysctl-ip-forward", "net/ipv4/ip_forward", "0", check.Fail, "net.ipv4.ip_forward is 0: expected 1"},
		{"sysctl-ipv6-forwarding", "net/ipv6/conf/all/forwarding", "0", check.Warn, "expected 1"},
		{"sysctl-ipv6-forwarding", "elsewhere", "0", check.Skip, "the kernel has no net.ipv6.conf.all.forwarding: the node has no IPv6"},
		{"sysctl-bridge-iptables", "net/bridge/bridge-nf-call-iptables", "0", check.Warn, "expected 1"},
		{"sysctl-bridge-iptables", "elsewhere", "0", check.Skip, "br_netfilter is not loaded"},
		{"sysctl-bridge-ip6tables", "net/bridge/bridge-nf-call-ip6tables", "1", check.Pass, "is 1"},
		{"sysctl-rp-filter", "net/ipv4/conf/all/rp_filter", "1", check.Warn, "expected 0 or 2"},
		{"sysctl-rp-filter", "net/ipv4/conf/all/rp_filter", "2", check.Pass, "is 2"},
		{"sysctl-route-localnet", "net/ipv4/conf/all/route_localnet", "1", check.Warn, "CVE-2020-8558"},
		{"sysctl-local-ports", "net/ipv4/ip_local_port_range", "32768\t60999", check.Pass, "32768 to 60999"},
		{"sysctl-local-ports", "net/ipv4/ip_local_port_range", "1024\t60999", check.Warn, "expected none of the node ports, 30000 to 32767"},
		{"conntrack-max", "net/netfilter/nf_conntrack_max", "65536", check.Warn, "expected 131072 or more"},
		{"conntrack-max", "net/netfilter/nf_conntrack_max", "262144", check.Pass, "262144"},
		{"conntrack-max", "elsewhere", "", check.Skip, "loaded with the first rule"},
		{"conntrack-idle", "net/netfilter/nf_conntrack_tcp_timeout_established", "3600", check.Warn, "expected 7200 or more"},
		{"conntrack-idle", "net/netfilter/nf_conntrack_tcp_timeout_established", "86400", check.Pass, "86400"},
		{"conntrack-liberal", "net/netfilter/nf_conntrack_tcp_be_liberal", "1", check.Warn, "conntrack.tcpBeLiberal"},
	} {
		root := write(t, map[string]string{"proc/sys/" + test.path: test.value + "\n"})
		says(t, test.id+" "+test.value, find(t, Config{Root: root}, test.id), test.outcome, test.message)
	}
	says(t, "reserved", judgeLocalPorts("1024 60999", "8080,30000-32767"), check.Pass, "ip_local_reserved_ports has 30000-32767")
	says(t, "a part reserved", judgeLocalPorts("1024 60999", "30000-31000,31002"), check.Warn, "expected none of the node ports")
	says(t, "no range", judgeLocalPorts("all", ""), check.Skip, "expected two numbers")
}

func TestConntrackThatFillsUp(t *testing.T) {
	says(t, "room", judgeUsage(74, 100), check.Pass, "74 of 100")
	says(t, "little room", judgeUsage(75, 100), check.Warn, "expected less than 75%")
	says(t, "none", judgeUsage(95, 100), check.Fail, "dropped")
	says(t, "unknown", judgeUsage(95, 0), check.Pass, "")
	root := write(t, map[string]string{"proc/sys/net/netfilter/nf_conntrack_buckets": "1000", "proc/sys/net/netfilter/nf_conntrack_max": "8001", "proc/sys/net/netfilter/nf_conntrack_count": "8000"})
	says(t, "usage", find(t, Config{Root: root}, "conntrack-usage"), check.Fail, "8000 of 8001")
	says(t, "buckets", find(t, Config{Root: root}, "conntrack-buckets"), check.Warn, "1000 for 8001 connections")
}

func TestCapabilities(t *testing.T) {
	says(t, "all", judgeCapabilities("Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t0"), check.Pass, "")
	says(t, "this one alone", judgeCapabilities("CapEff:\t0000000000001000\n"), check.Pass, "")
	says(t, "others", judgeCapabilities("CapEff:\t0000000000000fff\n"), check.Warn, "no CAP_NET_ADMIN")
	says(t, "unknown", judgeCapabilities(""), check.Skip, "")
}

func TestAddresses(t *testing.T) {
	addrs := func(texts ...string) (list []netip.Addr) {
		for _, text := range texts {
			list = append(list, netip.MustParseAddr(text))
		}
		return list
	}
	says(t, "none", judgeAddresses(nil, true), check.Fail, "no address but loopback ones")
	says(t, "link-local", judgeAddresses(addrs("fe80::1"), true), check.Fail, "no address")
	says(t, "IPv4", judgeAddresses(addrs("192.0.2.1", "fe80::1"), true), check.Pass, "192.0.2.1, and of IPv6 link-local ones at most")
	says(t, "IPv6", judgeAddresses(addrs("2001:db8::1"), true), check.Pass, "IPv6 addresses alone")
	says(t, "both", judgeAddresses(addrs("192.0.2.1", "2001:db8::1"), true), check.Pass, "192.0.2.1, 2001:db8::1")
}

func TestMemoryAndClock(t *testing.T) {
	says(t, "much", judgeMemory("MemTotal: 1 kB\nMemAvailable:  2097152 kB\n"), check.Pass, "2048 MiB")
	says(t, "little", judgeMemory("MemAvailable: 102400 kB"), check.Warn, "100 MiB")
	says(t, "none", judgeMemory("MemAvailable: 1024 kB"), check.Fail, "1 MiB")
	says(t, "unknown", judgeMemory(""), check.Skip, "")
	says(t, "now", judgeClock(now), check.Pass, "2026-11-26T12:00:00Z")
	says(t, "an empty battery", judgeClock(time.Unix(0, 0)), check.Fail, "1970-01-01T00:00:00Z")
	says(t, "far", judgeClock(now.AddDate(100, 0, 0)), check.Fail, "2126-")
}

func TestTheCheckpointsDirectory(t *testing.T) {
	directory := t.TempDir()
	says(t, "none", find(t, Config{}, "node-checkpoint-directory"), check.Warn, "no checkpoint is kept")
	there := filepath.Join(directory, "checkpoint")
	says(t, "it is", find(t, Config{CheckpointPath: there}, "node-checkpoint-directory"), check.Pass, "can be written to")
	says(t, "nothing there", find(t, Config{CheckpointPath: there, Node: "a"}, "node-checkpoint"), check.Warn, "is not there")
	away := filepath.Join(directory, "away", "checkpoint")
	says(t, "before", find(t, Config{Before: true, CheckpointPath: away}, "node-checkpoint-directory"), check.Pass, "the agent makes it")
	says(t, "after", find(t, Config{CheckpointPath: away}, "node-checkpoint-directory"), check.Fail, "is not there: expected the directory")
	says(t, "unwritable", find(t, Config{CheckpointPath: "/proc/checkpoint"}, "node-checkpoint-directory"), check.Fail, "cannot be written to")
	root := write(t, map[string]string{"checkpoint": "garbage"})
	says(t, "garbage", find(t, Config{CheckpointPath: filepath.Join(root, "checkpoint"), Node: "a"}, "node-checkpoint"), check.Warn, "cannot be used")
	if left, _ := filepath.Glob(filepath.Join(directory, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOtherProxiesAndAgents(t *testing.T) {
	kubeProxy, agent, other := process{id: 7, name: "kube-proxy"}, process{id: 8, name: "portolan-agent", where: here}, process{id: 9, name: "nginx"}
	says(t, "none", judgeKubeProxy(nil, false), check.Pass, "")
	says(t, "migrating", judgeKubeProxy(processes{kubeProxy}, true), check.Warn, "kube-proxy (process 7) runs")
	says(t, "both", judgeKubeProxy(processes{kubeProxy}, false), check.Warn, "beside Portolan")
	rules := []string{"table kube-proxy of IPv4"}
	says(t, "kept rules", judgeRules("nftables", rules, true, false), check.Warn, "table kube-proxy of IPv4")
	says(t, "stale rules", judgeRules("nftables", rules, false, false), check.Fail, "send connections to endpoints that go")
	says(t, "stale rules, before", judgeRules("nftables", rules, false, true), check.Warn, "no kube-proxy is seen")
	says(t, "Cilium", judgeOthers(processes{{id: 1, name: "cilium-agent"}}), check.Warn, "cilium-agent (process 1)")

	says(t, "no agent", judgeAgents(nil, false), check.Warn, "no portolan-agent")
	says(t, "no agent yet", judgeAgents(nil, true), check.Pass, "")
	says(t, "an agent", judgeAgents(processes{agent}, false), check.Pass, "")
	says(t, "an agent already", judgeAgents(processes{agent}, true), check.Warn, "runs already")
	says(t, "two agents", judgeAgents(processes{agent, {id: 10, name: "portolan-agent", where: here}}, false), check.Fail, "each undoes what the other does")
	unseen := process{id: 10, name: "portolan-agent"}
	says(t, "an agent and one of who knows where", judgeAgents(processes{agent, unseen}, false), check.Pass, "portolan-agent (process 8) runs")
	says(t, "agents of who knows where", judgeAgents(processes{unseen, unseen}, false), check.Pass, "may not see")

	says(t, "ours", judgePort(10256, "x", agent, false), check.Pass, "portolan-agent (process 8) listens on port 10256")
	says(t, "kube-proxy's, yet", judgePort(10256, "x", kubeProxy, true), check.Warn, "the agent takes it when it is free")
	says(t, "kube-proxy's, still", judgePort(10256, "x", kubeProxy, false), check.Warn, "expected portolan-agent")
	says(t, "another's", judgePort(10256, "x", other, true), check.Fail, "nginx (process 9)")
	says(t, "somebody's, before", judgeUnseen(10256, true), check.Warn, "somebody listens")
	says(t, "somebody's", judgeUnseen(10256, false), check.Pass, "may not see")
}

func TestProcessesInOtherNamespacesDoNotCount(t *testing.T) {
	list := processes{{1, "kube-proxy", elsewhere}, {2, "kube-proxy", unknown}, {3, "kube-proxy-x", here}}
	if got := list.named("kube-proxy").String(); got != "kube-proxy (process 2)" {
		t.Error(got)
	}
	root := write(t, map[string]string{"proc/12/cmdline": "/usr/bin/kube-proxy\x00--v=2\x00", "proc/13/comm": "kthread\n", "proc/13/cmdline": "", "proc/x/comm": "y"})
	found, err := listProcesses(root)
	if err != nil || found.String() != "kube-proxy (process 12), kthread (process 13)" {
		t.Error(found, err)
	}
	if _, err := listProcesses(t.TempDir()); err == nil {
		t.Error("no processes, no error")
	}
}

func TestOwnTables(t *testing.T) {
	both := (&node{Config: Config{Root: write(t, map[string]string{"proc/net/if_inet6": ""})}}).families()
	four, six := nftables.Table{Family: "IPv4", Name: "portolan", Layout: nftables.Layout}, nftables.Table{Family: "IPv6", Name: "portolan", Layout: nftables.Layout}
	says(t, "both", judgeTables(tables{four, six}, both), check.Pass, "layout")
	says(t, "one", judgeTables(tables{four}, both), check.Fail, "no table portolan of IPv6")
	six.Layout--
	says(t, "another version", judgeTables(tables{four, six}, both), check.Warn, "IPv6 has layout")
}

func TestTheAgentsHealth(t *testing.T) {
	loopback(t)
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	config := Config{HealthAddress: strings.TrimPrefix(server.URL, "http://")}
	says(t, "well", find(t, config, "agent-health"), check.Pass, "200 OK")
	status = http.StatusServiceUnavailable
	says(t, "not well", find(t, config, "agent-health"), check.Fail, "answers 503 Service Unavailable")
	server.Close()
	says(t, "away", find(t, config, "agent-health"), check.Fail, "does not answer")
	says(t, "none", find(t, Config{}, "agent-health"), check.Skip, "")
}
