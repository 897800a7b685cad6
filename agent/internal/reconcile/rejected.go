package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/api/subscribe"
)

// forget drops the rejections of resources that the transaction names: it says
// something new of them.
func (l *Loop) forget(tx *subscribe.Transaction) {
	for _, name := range tx.Removed {
		delete(l.rejected, name)
	}
	for name := range tx.Resources.Names() {
		delete(l.rejected, name)
	}
}

func (l *Loop) noteRejected(rejected []*discoveryv1.RejectedResource) {
	for _, r := range rejected {
		l.rejected[resource.NameOf(r.GetName())] = r
		l.Logger.Warn("cannot use a resource; its last good state stays in force",
			"resource", r.GetName().GetName(), "reason", r.GetReason())
	}
}

// rejections lists, ordered, the resources that are not in force: those that could
// not be read, Services for which there is no room, and a configuration that the
// node cannot follow.
func (l *Loop) rejections() []*discoveryv1.RejectedResource {
	list := slices.Collect(maps.Values(l.rejected))
	for name, reason := range l.table.Excess() {
		list = append(list, l.rejection(discoveryv1.Kind_KIND_SERVICE, name, reason))
	}
	if family, missing := l.missingPrimary(); missing {
		list = append(list, l.rejection(discoveryv1.Kind_KIND_NODE_CONFIG, l.Node,
			fmt.Sprintf("node_ips[0]: the node's primary family is %s, which the node does not have: expected one that it has", family)))
	}
	slices.SortFunc(list, func(a, b *discoveryv1.RejectedResource) int {
		return cmp.Or(strings.Compare(a.GetName().GetName(), b.GetName().GetName()), cmp.Compare(a.GetName().GetKind(), b.GetName().GetKind()))
	})
	return list
}

func (l *Loop) rejection(kind discoveryv1.Kind, name, reason string) *discoveryv1.RejectedResource {
	id := resource.Name{Kind: kind, Name: name}
	return &discoveryv1.RejectedResource{Name: id.Proto(), Version: l.state.Version(id), Reason: reason}
}

// missingPrimary tells whether the node's primary family, which is that of its
// first address, is one that the node does not have.
func (l *Loop) missingPrimary() (dataplane.Family, bool) {
	config := l.config
	if config == nil || len(config.NodeIPs) == 0 {
		return "", false
	}
	primary := dataplane.IPv4
	if config.NodeIPs[0].Is6() {
		primary = dataplane.IPv6
	}
	return primary, slices.ContainsFunc(l.planes, func(p *plane) bool { return p.Family() == primary && !p.Supported() })
}
