// Package traffic says what becomes of new connections to a Service, by who makes
// them, at one node: what the reference model decides about a packet of each kind.
// It shares nothing with what computes the rules of nodes, so that the two can be
// compared. It is pure.
package traffic

import (
	"fmt"
	"net/netip"
	"strconv"

	"google.golang.org/protobuf/types/known/durationpb"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/kubeobjects"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/origin"
	"github.com/portolan-net/portolan/controlplane/reference"
)

const (
	// maxListed bounds the endpoints in all rows together: each row may have all.
	maxListed = 20_000
	// maxWork bounds the rows: the reference model looks at all frontends for each.
	maxWork = 500_000
)

// Question is what is asked.
type Question struct {
	Service *model.Service
	Slices  []*model.Slice
	// Node is where connections come to or start from; nil is one that the cluster
	// does not have.
	Node         *model.Node
	ServiceCIDRs []*model.ServiceCIDR
	Settings     compile.Settings
	// From, if not nil, is who connects; else it is somebody of each kind.
	From *origin.Origin
	// To, if not nil, says which frontends are connected to; else it is to all.
	To *origin.Target
}

// Answer returns what becomes of connections to each frontend from each kind of
// source. It is not complete if the Service is too large to tell.
func Answer(q Question) (rows []*introspectionv1.Traffic, complete bool) {
	w := newWorld(q)
	most := compile.Endpoints(q.Service, q.Slices) * len(kinds)
	listed := 0
	all := w.frontends()
	for _, f := range all {
		if q.To != nil && !f.isMeant(q.To) {
			continue
		}
		if listed+most > maxListed || len(rows)*len(all) > maxWork {
			return rows, false
		}
		for _, s := range w.sources(f) {
			row := w.row(f, s)
			listed += len(row.GetEndpoints())
			rows = append(rows, row)
		}
	}
	return rows, true
}

// world is a question in the reference model's terms.
type world struct {
	Question
	cluster reference.Cluster
	config  reference.Config
	node    reference.Node
}

func newWorld(q Question) world {
	if q.Node == nil {
		q.Node = &model.Node{}
	}
	w := world{Question: q, config: Config(q.Settings), node: reference.Node{Name: q.Node.Name, LocalAddresses: q.Node.IPs}}
	w.cluster.Services = append(w.cluster.Services, kubeobjects.Service(q.Service))
	w.cluster.Nodes = append(w.cluster.Nodes, kubeobjects.Node(q.Node))
	for _, slice := range q.Slices {
		w.cluster.Slices = append(w.cluster.Slices, kubeobjects.Slice(slice))
	}
	for _, cidr := range q.ServiceCIDRs {
		w.cluster.ServiceCIDRs = append(w.cluster.ServiceCIDRs, kubeobjects.ServiceCIDR(cidr))
	}
	return w
}

// frontend is a port of the Service at one of its addresses.
type frontend struct {
	port     model.Port
	at       netip.AddrPort
	nodePort bool
	balancer bool
}

func (f frontend) String() string {
	text := fmt.Sprintf("%s %s", f.port.Protocol, f.at)
	if f.nodePort {
		text += " (node port)"
	}
	return text
}

// isMeant tells whether a frontend is one that is connected to. The number of a Service's
// port stands for its node port too, that of the node port for it alone.
func (f frontend) isMeant(to *origin.Target) bool {
	at := strconv.Itoa(int(f.at.Port()))
	if to.Address.IsValid() {
		return f.at.Addr() == to.Address && at == to.Port
	}
	return to.Port == "" || to.Port == at || to.Port == f.port.Name || to.Port == strconv.Itoa(int(f.port.Port))
}

// frontends lists a Service's frontends by family and port: its cluster IP, then
// load-balancer IPs, external IPs and the node port at the node's own address.
func (w world) frontends() []frontend {
	var list []frontend
	for _, family := range w.Service.ClusterIPs {
		for _, port := range w.Service.Ports {
			add := func(addr netip.Addr, number uint16, balancer bool) {
				if addr.Is6() == family.Is6() {
					list = append(list, frontend{port: port, at: netip.AddrPortFrom(addr, number), balancer: balancer})
				}
			}
			add(family, port.Port, false)
			for _, addr := range w.Service.LoadBalancerIPs {
				add(addr, port.Port, true)
			}
			for _, addr := range w.Service.ExternalIPs {
				add(addr, port.Port, false)
			}
			if addr, ok := w.own(family.Is6()); ok && port.NodePort != 0 {
				list = append(list, frontend{port: port, at: netip.AddrPortFrom(addr, port.NodePort), nodePort: true})
			}
		}
	}
	return list
}

// own is the node's address of a family.
func (w world) own(is6 bool) (netip.Addr, bool) {
	for _, addr := range w.Node.IPs {
		if addr.Is6() == is6 {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// row asks about one frontend and source.
func (w world) row(f frontend, s source) *introspectionv1.Traffic {
	o := w.decide(f, s)
	row := &introspectionv1.Traffic{From: s.text, To: f.String()}
	switch {
	case !o.Handled:
		row.Outcome = "untouched"
		return row
	case o.Verdict == reference.Reject:
		row.Outcome = "refused"
		return row
	case o.Verdict == reference.Drop:
		row.Outcome = "dropped"
		return row
	}
	row.Outcome, row.Masquerade = "accepted", w.masquerade(f, s, o)
	for _, backend := range o.Backends {
		row.Endpoints = append(row.Endpoints, backend.String())
	}
	if o.Sticky > 0 {
		row.Affinity = durationpb.New(o.Sticky)
	}
	return row
}

// masquerade asks, where a pod keeps its address, whether it also does when it is
// its own endpoint.
func (w world) masquerade(f frontend, s source, o reference.Outcome) string {
	switch o.Masquerade {
	case reference.Masqueraded:
		return "yes"
	case reference.HairpinOnly:
		return "hairpin"
	case reference.SourceKept:
	}
	if s.packet.From != reference.FromPod {
		return "no"
	}
	for _, backend := range o.Backends {
		if !w.hosts(backend.Addr()) {
			continue
		}
		s.packet.Source = backend.Addr()
		if w.decide(f, s).Masquerade == reference.HairpinOnly {
			return "hairpin"
		}
		break
	}
	return "no"
}

// hosts tells whether the node has the endpoint.
func (w world) hosts(addr netip.Addr) bool {
	for _, slice := range w.Slices {
		for i := range slice.Endpoints {
			if e := &slice.Endpoints[i]; e.Addr == addr && e.Node != "" && e.Node == w.Node.Name {
				return true
			}
		}
	}
	return false
}

func (w world) decide(f frontend, s source) reference.Outcome {
	p := s.packet
	p.Protocol, p.Destination = protocol(f.port.Protocol), f.at
	return reference.Decide(w.cluster, w.config, w.node, p)
}
