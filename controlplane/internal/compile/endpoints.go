package compile

import (
	"maps"
	"slices"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// pick chooses the candidates of a selection that a scope uses.
type pick func(*selection) []int

// endpointSets returns an EndpointSet for each slice: the shared one, and for
// each zone that a topology decision names, a variant where it differs.
func endpointSets(service *model.Service, slicesOf []*model.Slice, chosen []*selection) []snapshot.Scoped {
	shared := groupsBySlice(chosen, func(s *selection) []int { return s.decision.Cluster })
	var resources []snapshot.Scoped
	for _, slice := range slicesOf {
		if groups := shared[slice.Key]; len(groups) > 0 {
			resources = append(resources, endpointSet(service, slice.Key, snapshot.Scope{}, groups))
		}
	}
	for _, zone := range namedZones(chosen) {
		variant := groupsBySlice(chosen, func(s *selection) []int { return s.decision.ForZone(zone) })
		for _, slice := range slicesOf {
			if !equalGroups(shared[slice.Key], variant[slice.Key]) {
				resources = append(resources, endpointSet(service, slice.Key, snapshot.Scope{Zone: zone}, variant[slice.Key]))
			}
		}
	}
	return resources
}

func endpointSet(service *model.Service, slice model.Key, scope snapshot.Scope, groups []group) snapshot.Scoped {
	return snapshot.Scoped{Scope: scope, Resource: &discoveryv1.Resource{
		Name: slice.String(),
		Body: &discoveryv1.Resource_EndpointSet{EndpointSet: &discoveryv1.EndpointSet{
			Service: service.String(),
			Groups:  encodeGroups(groups),
		}},
	}}
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
		local := groups(chosen, func(s *selection) []int { return s.decision.Local[node] })
		preferred := groups(chosen, func(s *selection) []int { return s.decision.Preferred[node] })
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
	address     string
	terminating bool
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
		for _, i := range picked(s) {
			c := &s.candidates[i]
			key := portKey{groupPort{s.port.Name, s.port.Protocol, c.port}, s.is6}
			if _, ok := byPort[key]; !ok {
				order = append(order, key)
			}
			byPort[key] = append(byPort[key], groupEndpoint{c.endpoint.Addr.String(), !c.endpoint.Ready})
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

// groupsBySlice is groups, apart for each slice that the endpoints came from.
func groupsBySlice(chosen []*selection, picked pick) map[model.Key][]group {
	from := map[model.Key]map[*selection][]int{}
	for _, s := range chosen {
		for _, i := range picked(s) {
			key := s.candidates[i].slice.Key
			if from[key] == nil {
				from[key] = map[*selection][]int{}
			}
			from[key][s] = append(from[key][s], i)
		}
	}
	bySlice := make(map[model.Key][]group, len(from))
	for key, indexes := range from {
		bySlice[key] = groups(chosen, func(s *selection) []int { return indexes[s] })
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
			state := discoveryv1.EndpointState_ENDPOINT_STATE_UNSPECIFIED
			if e.terminating {
				state = discoveryv1.EndpointState_ENDPOINT_STATE_TERMINATING
			}
			encoded[i].Endpoints = append(encoded[i].Endpoints, &discoveryv1.Endpoint{Address: e.address, State: state})
		}
	}
	return encoded
}
