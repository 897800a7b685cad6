package nodecheck

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/portolan-net/portolan/api/check"
)

// setting is a setting of the kernel, and what is to be said of its value.
type setting struct {
	id, title string
	// path is below proc/sys; absent says why it may be missing.
	path, absent string
	judge        func(n *node, name, value string) check.Finding
}

func (n *node) sysctlChecks() []check.Check {
	var list []check.Check
	for _, s := range settings {
		list = append(list, looksAt(check.Always, s.id, s.title, func() check.Finding { return n.setting(s) }))
	}
	return list
}

func (n *node) setting(s setting) check.Finding {
	name := strings.ReplaceAll(s.path, "/", ".")
	value, err := n.read("proc/sys/" + s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return check.Skipped("the kernel has no %s: %s", name, s.absent)
	case err != nil:
		return check.Skipped("%s cannot be read: %v", name, err)
	default:
		return s.judge(n, name, value)
	}
}

const (
	noConntrack = "nf_conntrack is loaded with the first rule that needs it"
	// nodePorts are the API server's default.
	firstNodePort, lastNodePort = 30000, 32767
	// manyConnections is kube-proxy's default for conntrack.min.
	manyConnections = 131072
	// longIdle is when Linux first sends a keepalive by default, in seconds.
	longIdle = 7200
)

var settings = []setting{
	{
		"sysctl-ip-forward", "the node forwards IPv4", "net/ipv4/ip_forward", "expected IPv4",
		expect("1", check.Fail, "the node forwards no packets to its pods, and none to endpoints elsewhere"),
	},
	{
		"sysctl-ipv6-forwarding", "the node forwards IPv6", "net/ipv6/conf/all/forwarding", "the node has no IPv6",
		expect("1", check.Warn, "the node forwards no IPv6 packets to its pods, and none to endpoints elsewhere"),
	},
	{
		"sysctl-bridge-iptables", "bridged IPv4 packets are translated back", "net/bridge/bridge-nf-call-iptables", "br_netfilter is not loaded; a network plugin with a bridge needs it",
		expect("1", check.Warn, "of a pod that reaches another on the same bridge by a Service, the answer is not translated back"),
	},
	{
		"sysctl-bridge-ip6tables", "bridged IPv6 packets are translated back", "net/bridge/bridge-nf-call-ip6tables", "br_netfilter is not loaded; a network plugin with a bridge needs it",
		expect("1", check.Warn, "of a pod that reaches another on the same bridge by a Service, the answer is not translated back"),
	},
	{
		"sysctl-rp-filter", "packets may come by another interface than answers go by", "net/ipv4/conf/all/rp_filter", "expected IPv4",
		func(_ *node, name, value string) check.Finding {
			if value == "1" {
				return check.Warned("%s is 1: expected 0 or 2: packets whose answers go by another interface are dropped", name).Do("sysctl -w %s=2", name)
			}
			return check.Passed("%s is %s", name, value)
		},
	},
	{
		"sysctl-route-localnet", "neighbours cannot reach loopback addresses", "net/ipv4/conf/all/route_localnet", "expected IPv4",
		expect("0", check.Warn, "neighbours may reach what listens on 127.0.0.1 (CVE-2020-8558), and Portolan does not need it"),
	},
	{
		"sysctl-local-ports", "the kernel draws no node ports for outgoing connections", "net/ipv4/ip_local_port_range", "expected IPv4",
		func(n *node, _, value string) check.Finding {
			reserved, _ := n.read("proc/sys/net/ipv4/ip_local_reserved_ports")
			return judgeLocalPorts(value, reserved)
		},
	},
	{
		"conntrack-max", "connection tracking holds as many connections as kube-proxy's does", "net/netfilter/nf_conntrack_max", noConntrack,
		func(_ *node, name, value string) check.Finding {
			if number(value) < manyConnections {
				return check.Warned("%s is %s: expected %d or more: beyond it, new connections are dropped", name, value, manyConnections).
					Do("Configure conntrack.maxPerCore and conntrack.min, which portolan-agent --init-only sets.")
			}
			return check.Passed("%s is %s", name, value)
		},
	},
	{
		"conntrack-usage", "connection tracking has room", "net/netfilter/nf_conntrack_count", noConntrack,
		func(n *node, _, value string) check.Finding {
			limit, _ := n.read("proc/sys/net/netfilter/nf_conntrack_max")
			return judgeUsage(number(value), number(limit))
		},
	},
	{
		"conntrack-buckets", "connection tracking finds connections at once", "net/netfilter/nf_conntrack_buckets", noConntrack,
		func(n *node, name, value string) check.Finding {
			limit, _ := n.read("proc/sys/net/netfilter/nf_conntrack_max")
			const most = 8
			if number(limit) > most*number(value) {
				return check.Warned("%s is %s for %s connections: expected a bucket for each %d or fewer", name, value, limit, most).
					Do("Write a quarter of nf_conntrack_max to /sys/module/nf_conntrack/parameters/hashsize, as portolan-agent --init-only does.")
			}
			return check.Passed("%s is %s, for %s connections", name, value, limit)
		},
	},
	{
		"conntrack-idle", "idle TCP connections are not forgotten", "net/netfilter/nf_conntrack_tcp_timeout_established", noConntrack,
		func(_ *node, name, value string) check.Finding {
			if number(value) < longIdle {
				return check.Warned("%s is %s: expected %d or more: a connection that is idle for longer breaks", name, value, longIdle).
					Do("Configure conntrack.tcpEstablishedTimeout, which portolan-agent --init-only sets.")
			}
			return check.Passed("%s is %s", name, value)
		},
	},
	{
		"conntrack-liberal", "connection tracking looks at TCP windows", "net/netfilter/nf_conntrack_tcp_be_liberal", noConntrack,
		expect("0", check.Warn, "packets beyond the window pass, which should be as conntrack.tcpBeLiberal configures it"),
	},
}

// expect returns what judges a setting that is to have one value.
func expect(want string, otherwise check.Outcome, why string) func(n *node, name, value string) check.Finding {
	return func(_ *node, name, value string) check.Finding {
		if value == want {
			return check.Passed("%s is %s", name, value)
		}
		message := fmt.Sprintf("%s is %s: expected %s: %s", name, value, want, why)
		return check.Finding{Outcome: otherwise, Message: message, Advice: fmt.Sprintf("sysctl -w %s=%s, and in /etc/sysctl.d for the next boot", name, want)}
	}
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

func judgeUsage(count, limit int) check.Finding {
	const full, much = 95, 75
	percent := count * 100 / max(1, limit)
	switch {
	case limit == 0 || percent < much:
		return check.Passed("net.netfilter.nf_conntrack_count is %d of %d", count, limit)
	case percent < full:
		return check.Warned("net.netfilter.nf_conntrack_count is %d of %d: expected less than %d%%", count, limit, much).Do("Configure a larger conntrack.maxPerCore, or find who opens so many connections.")
	default:
		return check.Failed("net.netfilter.nf_conntrack_count is %d of %d: new connections are dropped, or soon will be", count, limit).Do("Configure a larger conntrack.maxPerCore, or find who opens so many connections.")
	}
}

// judgeLocalPorts looks for node ports that an outgoing connection may take.
func judgeLocalPorts(portRange, reserved string) check.Finding {
	var first, last int
	if _, err := fmt.Sscan(portRange, &first, &last); err != nil {
		return check.Skipped("net.ipv4.ip_local_port_range is %q: expected two numbers", portRange)
	}
	for part := range strings.SplitSeq(reserved, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		if part != "" && number(from) <= firstNodePort && number(to) >= lastNodePort {
			return check.Passed("net.ipv4.ip_local_reserved_ports has %s", part)
		}
	}
	if first <= lastNodePort && last >= firstNodePort {
		return check.Warned("net.ipv4.ip_local_port_range is %d to %d: expected none of the node ports, %d to %d: an outgoing connection may take one", first, last, firstNodePort, lastNodePort).
			Do("sysctl -w net.ipv4.ip_local_reserved_ports=%d-%d", firstNodePort, lastNodePort)
	}
	return check.Passed("net.ipv4.ip_local_port_range is %d to %d", first, last)
}
