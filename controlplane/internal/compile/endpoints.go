package compile

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// pick chooses the candidates of a selection that a scope is sent.
type pick func(*selection) []member

// member is a candidate, by index, and what it is sent as.
type member struct {
	index int
	state discoveryv1.EndpointState
}

// members are endpoints that are used.
func (s *selection) members(list []int) []member {
	members := make([]member, len(list))
	for i, index := range list {
		members[i].index = index
		if !s.candidates[index].endpoint.Ready {
			members[i].state = discoveryv1.EndpointState_ENDPOINT_STATE_TERMINATING
		}
	}
	return members
}

// withDraining are endpoints that are used and those that are not but still serve the
// connections that they have: for UDP all, for others those that have the weight 0.
func (s *selection) withDraining(list []int) []member {
	members := s.members(list)
	isUDP := s.port.Protocol == model.UDP
	for i := range s.candidates {
		c := &s.candidates[i]
		if c.endpoint.Serving && (isUDP || c.drained) && !has(list, i) {
			members = append(members, member{i, discoveryv1.EndpointState_ENDPOINT_STATE_DRAINING})
		}
	}
	slices.SortFunc(members, func(a, b member) int { return a.index - b.index })
	return members
}

// endpointSets returns an EndpointSet for each slice: the shared one, and for
// each zone that a topology decision names, a variant where it differs.
func endpointSets(service *model.Service, slicesOf []*model.Slice, chosen []*selection) []snapshot.Scoped {
	shared := groupsBySlice(chosen, func(s *selection) []member { return s.withDraining(s.decision.Cluster) })
	var resources []snapshot.Scoped
	for _, slice := range slicesOf {
		if groups := shared[slice.Key]; len(groups) > 0 {
			resources = append(resources, endpointSet(service, slice, snapshot.Scope{}, groups))
		}
	}
	for _, zone := range namedZones(chosen) {
		variant := groupsBySlice(chosen, func(s *selection) []member { return s.withDraining(s.decision.ForZone(zone)) })
		for _, slice := range slicesOf {
			if !equalGroups(shared[slice.Key], variant[slice.Key]) {
				resources = append(resources, endpointSet(service, slice, snapshot.Scope{Zone: zone}, variant[slice.Key]))
			}
		}
	}
	return resources
}

func endpointSet(service *model.Service, slice *model.Slice, scope snapshot.Scope, groups []group) snapshot.Scoped {
	return snapshot.Scoped{Scope: scope, Resource: &discoveryv1.Resource{
		Name:                  slice.String(),
		LastChangeTriggerTime: triggerTime(slice),
		Body: &discoveryv1.Resource_EndpointSet{EndpointSet: &discoveryv1.EndpointSet{
			Service: service.String(),
			Groups:  encodeGroups(groups),
		}},
	}}
}

func triggerTime(slice *model.Slice) *timestamppb.Timestamp {
	if slice.Triggered.IsZero() {
		return nil
	}
	return timestamppb.New(slice.Triggered)
}

// localEndpoints returns the LocalEndpoints of every node that has some of the
// Service's endpoints or is to prefer some.
func localEndpoints(service *model.Service, chosen []*selection) []snapshot.Scoped {
	nodes := map[string]struct{}{}
	for _, s := range chosen {
		for node := range s.decision.Local {
			nodes[node] = struct{}{}
		}
		for node := range s.decision.Preferred {
			nodes[node] = struct{}{}
		}
	}
	var resources []snapshot.Scoped
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		local := groups(chosen, func(s *selection) []member { return s.members(s.decision.Local[node]) })
		preferred := groups(chosen, func(s *selection) []member { return s.members(s.decision.Preferred[node]) })
		resources = append(resources, snapshot.Scoped{
			Scope: snapshot.Scope{Node: node},
			Resource: &discoveryv1.Resource{
				Name: service.String(),
				Body: &discoveryv1.Resource_LocalEndpoints{LocalEndpoints: &discoveryv1.LocalEndpoints{
					Local: encodeGroups(local), Preferred: encodeGroups(preferred),
				}},
			},
		})
	}
	return resources
}

func namedZones(chosen []*selection) []string {
	zones := map[string]struct{}{}
	for _, s := range chosen {
		for zone := range s.decision.Zones {
			zones[zone] = struct{}{}
		}
	}
	delete(zones, "")
	return slices.Sorted(maps.Keys(zones))
}

// group is a set of endpoints and the ports that it serves.
type group struct {
	ports     []groupPort
	endpoints []groupEndpoint
}

type groupPort struct {
	name     string
	protocol model.Protocol
	port     uint16
}

type groupEndpoint struct {
	address string
	state   discoveryv1.EndpointState
	// weight is 0 for the weight that all have whom nobody gives another.
	weight uint32
}

// groups returns what the picks of all selections come to, gathered into groups
// of ports with equal endpoints.
func groups(chosen []*selection, picked pick) []group {
	type portKey struct {
		groupPort
		is6 bool
	}
	var order []portKey
	byPort := map[portKey][]groupEndpoint{}
	for _, s := range chosen {
		for _, m := range picked(s) {
			c := &s.candidates[m.index]
			key := portKey{groupPort{s.port.Name, s.port.Protocol, c.port}, s.is6}
			if _, ok := byPort[key]; !ok {
				order = append(order, key)
			}
			byPort[key] = append(byPort[key], groupEndpoint{c.endpoint.Addr.String(), m.state, c.onWire()})
		}
	}
	var list []group
next:
	for _, key := range order {
		for i := range list {
			if slices.Equal(list[i].endpoints, byPort[key]) {
				list[i].ports = append(list[i].ports, key.groupPort)
				continue next
			}
		}
		list = append(list, group{ports: []groupPort{key.groupPort}, endpoints: byPort[key]})
	}
	return list
}

// onWire is the weight as Endpoint.weight has it: the default costs nothing.
func (c *candidate) onWire() uint32 {
	if c.weight == model.DefaultWeight {
		return 0
	}
	return uint32(c.weight)
}

// groupsBySlice is groups, apart for each slice that the endpoints came from.
func groupsBySlice(chosen []*selection, picked pick) map[model.Key][]group {
	from := map[model.Key]map[*selection][]member{}
	for _, s := range chosen {
		for _, m := range picked(s) {
			key := s.candidates[m.index].slice.Key
			if from[key] == nil {
				from[key] = map[*selection][]member{}
			}
			from[key][s] = append(from[key][s], m)
		}
	}
	bySlice := make(map[model.Key][]group, len(from))
	for key, members := range from {
		bySlice[key] = groups(chosen, func(s *selection) []member { return members[s] })
	}
	return bySlice
}

func equalGroups(a, b []group) bool {
	return slices.EqualFunc(a, b, func(x, y group) bool {
		return slices.Equal(x.ports, y.ports) && slices.Equal(x.endpoints, y.endpoints)
	})
}

func encodeGroups(list []group) []*discoveryv1.EndpointGroup {
	encoded := make([]*discoveryv1.EndpointGroup, len(list))
	for i, g := range list {
		encoded[i] = &discoveryv1.EndpointGroup{}
		for _, p := range g.ports {
			encoded[i].Ports = append(encoded[i].Ports, &discoveryv1.EndpointPort{
				Name: p.name, Protocol: protocol(p.protocol), Port: uint32(p.port),
			})
		}
		for _, e := range g.endpoints {
			encoded[i].Endpoints = append(encoded[i].Endpoints, &discoveryv1.Endpoint{Address: e.address, State: e.state, Weight: e.weight})
		}
	}
	return encoded
}
