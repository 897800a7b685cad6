package nftables

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// The names of the sets and maps, the same in both families.
const (
	clusterIPs        = "cluster-ips"
	serviceCIDRs      = "service-cidrs"
	serviceIPs        = "service-ips"
	endpoints         = "endpoints"
	localIPs          = "local-ips"
	localServiceIPs   = "local-service-ips"
	localEndpoints    = "local-endpoints"
	masqueradeIPs     = "masquerade-ips"
	noEndpointIPs     = "no-endpoint-ips"
	firewallIPs       = "firewall-ips"
	firewallAllow     = "firewall-allow"
	hairpin           = "hairpin"
	affinity          = "affinity"
	affinityIPs       = "affinity-ips"
	affinityTimeouts  = "affinity-timeouts"
	affinityEndpoints = "affinity-endpoints"

	localAffinity          = "local-affinity"
	localAffinityTimeouts  = "local-affinity-timeouts"
	localAffinityEndpoints = "local-affinity-endpoints"

	// These are used beside IPVS alone.
	servedIPs  = "served-ips"
	outsideIPs = "outside-ips"
	checkPorts = "health-check-ports"

	contentDigest = "content-digest"
)

// maxAffinity bounds how many clients are remembered in a family, all Services
// together. Beyond it connections work but are not remembered.
const maxAffinity = 1 << 18

// setSpec is a set or map of the skeleton.
type setSpec struct {
	name    string
	key     []nftables.SetDatatype
	value   []nftables.SetDatatype
	verdict bool
	// interval marks sets of ranges; dynamic those that packets update.
	interval, dynamic bool
	use               use
	comment           string
}

// use tells which rules look into a set.
type use uint8

const (
	byAll use = iota
	// translating are the rules that choose and translate, besideIPVS those where IPVS does.
	translating
	besideIPVS
)

// useOf returns what the rules of the settings are, that others are not.
func useOf(settings dataplane.Settings) use {
	if settings.IPVS != nil {
		return besideIPVS
	}
	return translating
}

// unusedBy tells whether no rule looks into the set where rules are of a kind.
func (s setSpec) unusedBy(rules use) bool { return s.use != byAll && s.use != rules }

// makeSets returns the sets of a family, in the order in which they are filled: what
// packets reach last comes first.
func (f *family) makeSets() []setSpec {
	addr, proto, port := f.addrType, nftables.TypeInetProto, nftables.TypeInetService
	slot := nftables.TypeMark
	frontend := []nftables.SetDatatype{addr, proto, port}
	backend := []nftables.SetDatatype{addr, port}
	with := func(more ...nftables.SetDatatype) []nftables.SetDatatype {
		return append(append([]nftables.SetDatatype{}, frontend...), more...)
	}
	return []setSpec{
		{name: endpoints, key: with(slot), value: backend, use: translating, comment: "frontend . slot : backend"},
		{name: localEndpoints, key: with(slot), value: backend, use: translating, comment: "frontend . slot : backend on this node"},
		{name: affinityEndpoints, key: with(addr, port), use: translating, comment: "frontend . backend that clients may stick to"},
		{name: affinityTimeouts, key: frontend, verdict: true, use: translating, comment: "how long clients of a frontend stick"},
		{name: affinityIPs, key: frontend, use: translating, comment: "frontends with ClientIP affinity"},
		{name: affinity, key: with(addr), value: backend, dynamic: true, use: translating, comment: "frontend . client : its backend"},
		{name: localAffinityEndpoints, key: with(addr, port), use: translating, comment: "frontend . backend on this node that clients may stick to"},
		{name: localAffinityTimeouts, key: frontend, verdict: true, use: translating, comment: "external policy Local: how long clients of a frontend stick"},
		{name: localAffinity, key: with(addr), value: backend, dynamic: true, use: translating, comment: "external policy Local: frontend . client : its backend on this node"},
		{name: hairpin, key: []nftables.SetDatatype{addr, addr, proto, port}, comment: "endpoints on this node, as source and destination"},
		{name: firewallAllow, key: with(addr), interval: true, comment: "frontend . source that may connect"},
		{name: firewallIPs, key: frontend, comment: "frontends with source ranges"},
		{name: noEndpointIPs, key: frontend, verdict: true, comment: "frontends without usable endpoints"},
		{name: masqueradeIPs, key: frontend, comment: "frontends whose connections are all masqueraded"},
		{name: localServiceIPs, key: frontend, verdict: true, use: translating, comment: "external policy Local: frontend : number of backends on this node"},
		{name: localIPs, key: frontend, comment: "frontends with external policy Local"},
		{name: serviceCIDRs, key: []nftables.SetDatatype{addr}, interval: true, comment: "where ClusterIPs come from"},
		{name: servedIPs, key: frontend, use: besideIPVS, comment: "frontends that IPVS has destinations for"},
		{name: outsideIPs, key: []nftables.SetDatatype{addr}, use: besideIPVS, comment: "load-balancer and external IPs that are bound to this node"},
		{name: checkPorts, key: []nftables.SetDatatype{port}, use: besideIPVS, comment: "health-check node ports"},
		{name: contentDigest, key: []nftables.SetDatatype{slot, slot}, comment: "digest of what the agent put into all other sets"},
		{name: clusterIPs, key: []nftables.SetDatatype{addr}, comment: fmt.Sprintf("ClusterIPs of Services; layout %d", layoutVersion)},
		{name: serviceIPs, key: frontend, verdict: true, use: translating, comment: "frontend : number of backends"},
	}
}

func concat(types []nftables.SetDatatype) nftables.SetDatatype {
	if len(types) == 1 {
		return types[0]
	}
	return nftables.MustConcatSetType(types...)
}

// set returns the library's form of a set.
func (s setSpec) set(table *nftables.Table) *nftables.Set {
	set := &nftables.Set{
		Table: table, Name: s.name, Comment: s.comment,
		KeyType: concat(s.key), Concatenation: len(s.key) > 1,
		Interval: s.interval, KeyByteOrder: binaryutil.BigEndian,
	}
	switch {
	case s.verdict:
		set.IsMap, set.DataType = true, nftables.TypeVerdict
	case s.value != nil:
		set.IsMap, set.DataType = true, concat(s.value)
	}
	if s.dynamic {
		set.Dynamic, set.HasTimeout, set.Size = true, true, maxAffinity
	}
	return set
}
