// Package sysctl sets the kernel's connection tracking as the configuration asks:
// how many connections it holds and for how long. It writes only what differs,
// and nothing that the configuration does not mention.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

const (
	// maxConntrack caps what maxPerCore asks for, as in kube-proxy; min is not
	// capped.
	maxConntrack = 1 << 20
	// perBucket is how many connections a bucket of the hash table should have at
	// most.
	perBucket = 4
)

// Tree is where the settings are: the root of a file system with proc and sys.
type Tree struct {
	Root string
	// CPUs is the number of processors.
	CPUs int
}

// setting is a file and the number that is to be in it.
type setting struct {
	path  string
	value int
	// atLeast leaves a larger number alone.
	atLeast bool
}

// Apply sets what the configuration asks for; nil asks for nothing. It tries
// everything, whatever fails.
func (t Tree) Apply(config *discoveryv1.Conntrack) Report { return t.apply(t.settings(config)) }

// ApplyAccounting has the kernel count the bytes of connections, and tell when they end. Of
// those that there are it does not.
func (t Tree) ApplyAccounting() Report {
	return t.apply([]setting{
		{path: "proc/sys/net/netfilter/nf_conntrack_acct", value: 1},
		{path: "proc/sys/net/netfilter/nf_conntrack_events", value: 1, atLeast: true},
	})
}

func (t Tree) apply(list []setting) Report {
	var report Report
	for _, s := range list {
		switch before, changed, err := t.write(s); {
		case err != nil:
			report.Failures = append(report.Failures, err)
		case changed:
			report.Set = append(report.Set, Change{Path: s.path, Before: before, After: s.value})
		default:
			report.Right++
		}
	}
	return report
}

// ApplyIPVS sets what IPVS needs (S147, S148): that connection tracking sees its
// connections, without which none is masqueraded; that those of a destination that has gone
// end, and persistence to one that drains; and that the node forwards. It tries everything,
// whatever fails.
func (t Tree) ApplyIPVS(strictARP bool) Report {
	list := []setting{
		{path: "proc/sys/net/ipv4/vs/conntrack", value: 1},
		{path: "proc/sys/net/ipv4/vs/expire_nodest_conn", value: 1},
		{path: "proc/sys/net/ipv4/vs/expire_quiescent_template", value: 1},
		{path: "proc/sys/net/ipv4/ip_forward", value: 1},
	}
	if t.needsNoReuse() {
		list = append(list, setting{path: "proc/sys/net/ipv4/vs/conn_reuse_mode", value: 0})
	}
	if strictARP {
		list = append(list,
			setting{path: "proc/sys/net/ipv4/conf/all/arp_ignore", value: 1},
			setting{path: "proc/sys/net/ipv4/conf/all/arp_announce", value: 2})
	}
	return t.apply(list)
}

// needsNoReuse tells whether the kernel is one that delays a client which uses a port again
// by a second (from 4.1 up to 5.9, https://github.com/kubernetes/kubernetes/issues/81775).
func (t Tree) needsNoReuse() bool {
	release, err := os.ReadFile(filepath.Join(t.Root, "proc/sys/kernel/osrelease"))
	if err != nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major == 4 && minor >= 1 || major == 5 && minor < 9
}

func (t Tree) settings(config *discoveryv1.Conntrack) []setting {
	var list []setting
	if limit := t.limit(config); limit > 0 {
		list = append(list,
			setting{path: "proc/sys/net/netfilter/nf_conntrack_max", value: limit},
			setting{path: "sys/module/nf_conntrack/parameters/hashsize", value: limit / perBucket, atLeast: true})
	}
	for _, timeout := range []struct {
		name  string
		value time.Duration
	}{
		{"nf_conntrack_tcp_timeout_established", config.GetTcpEstablishedTimeout().AsDuration()},
		{"nf_conntrack_tcp_timeout_close_wait", config.GetTcpCloseWaitTimeout().AsDuration()},
		{"nf_conntrack_udp_timeout", config.GetUdpTimeout().AsDuration()},
		{"nf_conntrack_udp_timeout_stream", config.GetUdpStreamTimeout().AsDuration()},
	} {
		if timeout.value > 0 {
			list = append(list, setting{path: "proc/sys/net/netfilter/" + timeout.name, value: int(timeout.value / time.Second)})
		}
	}
	if config.GetTcpBeLiberal() {
		list = append(list, setting{path: "proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", value: 1})
	}
	return list
}

// limit returns how many connections to hold, or zero for as many as now.
func (t Tree) limit(config *discoveryv1.Conntrack) int {
	if config.GetMaxPerCore() == 0 {
		return 0
	}
	return max(int(config.GetMin()), min(int(config.GetMaxPerCore())*t.CPUs, maxConntrack))
}

// write makes a setting, if it is not made, and returns what it was.
func (t Tree) write(s setting) (before int, changed bool, err error) {
	path := filepath.Join(t.Root, s.path)
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, false, fmt.Errorf("setting %s to %d: %w", s.path, s.value, cause(err))
	}
	before, err = strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0, false, fmt.Errorf("setting %s to %d: it holds %q: expected a number", s.path, s.value, strings.TrimSpace(string(content)))
	}
	if before == s.value || s.atLeast && before > s.value {
		return before, false, nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(s.value)), 0); err != nil {
		return before, false, fmt.Errorf("setting %s to %d (it is %d): %w", s.path, s.value, before, cause(err))
	}
	return before, true, nil
}

// cause is an error without the path, which is said already.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
