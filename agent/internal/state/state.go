package state

import (
	"iter"
	"maps"
	"slices"
	"strings"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// State is what the control plane told this node and the node could use.
type State struct {
	services map[string]*Service
	sets     map[string]*EndpointSet
	// byService has the EndpointSets of each Service, ordered by name. Its lists are
	// replaced and not changed.
	byService map[string][]*EndpointSet
	locals    map[string]*LocalEndpoints
	config    *NodeConfig
	cluster   *ClusterConfig
}

// New returns an empty state.
func New() *State {
	return &State{
		services:  map[string]*Service{},
		sets:      map[string]*EndpointSet{},
		byService: map[string][]*EndpointSet{},
		locals:    map[string]*LocalEndpoints{},
	}
}

// Dirty says what an Apply changed.
type Dirty struct {
	// Services are the names of Services that changed themselves or whose
	// endpoints changed.
	Services map[string]struct{}
	// Config is set if the NodeConfig or the ClusterConfig changed.
	Config bool
}

func (d *Dirty) service(name string) {
	if d.Services == nil {
		d.Services = map[string]struct{}{}
	}
	d.Services[name] = struct{}{}
}

// Merge adds what another Apply changed.
func (d *Dirty) Merge(o Dirty) {
	for name := range o.Services {
		d.service(name)
	}
	d.Config = d.Config || o.Config
}

// Apply takes over resources and removals. Resources that cannot be used are
// returned, each with the reason, and change nothing.
func (s *State) Apply(resources iter.Seq[*discoveryv1.Resource], removed []resource.Name) (Dirty, []*discoveryv1.RejectedResource) {
	var dirty Dirty
	var rejected []*discoveryv1.RejectedResource
	for _, name := range removed {
		s.remove(name, &dirty)
	}
	for r := range resources {
		if err := s.set(r, &dirty); err != nil {
			name := resource.Name{Kind: resource.KindOf(r), Name: r.GetName()}
			rejected = append(rejected, &discoveryv1.RejectedResource{Name: name.Proto(), Version: r.GetVersion(), Reason: err.Error()})
		}
	}
	return dirty, rejected
}

func (s *State) set(r *discoveryv1.Resource, dirty *Dirty) error {
	switch body := r.GetBody().(type) {
	case *discoveryv1.Resource_Service:
		service, err := parseService(r.GetName(), body.Service)
		if err != nil {
			return err
		}
		service.Version = r.GetVersion()
		s.services[service.Name] = service
		dirty.service(service.Name)
	case *discoveryv1.Resource_EndpointSet:
		set, err := parseEndpointSet(r.GetName(), body.EndpointSet)
		if err != nil {
			return err
		}
		set.Version = r.GetVersion()
		s.setEndpointSet(set, dirty)
	case *discoveryv1.Resource_LocalEndpoints:
		local, err := parseLocalEndpoints(r.GetName(), body.LocalEndpoints)
		if err != nil {
			return err
		}
		local.Version = r.GetVersion()
		s.locals[local.Name] = local
		dirty.service(local.Name)
	case *discoveryv1.Resource_NodeConfig:
		config, err := parseNodeConfig(r.GetName(), body.NodeConfig)
		if err != nil {
			return err
		}
		config.Version = r.GetVersion()
		s.config = config
		dirty.Config = true
	case *discoveryv1.Resource_ClusterConfig:
		cluster, err := parseClusterConfig(body.ClusterConfig)
		if err != nil {
			return err
		}
		cluster.Version = r.GetVersion()
		s.cluster = cluster
		dirty.Config = true
	default:
		return errUnknownKind
	}
	return nil
}

func (s *State) setEndpointSet(set *EndpointSet, dirty *Dirty) {
	s.unlink(set.Name, dirty)
	s.sets[set.Name] = set
	list := s.byService[set.Service]
	at, _ := slices.BinarySearchFunc(list, set.Name, compareName)
	s.byService[set.Service] = slices.Insert(slices.Clip(list), at, set)
	dirty.service(set.Service)
}

func compareName(set *EndpointSet, name string) int { return strings.Compare(set.Name, name) }

// unlink takes an EndpointSet from the Service that it belonged to.
func (s *State) unlink(name string, dirty *Dirty) {
	old := s.sets[name]
	if old == nil {
		return
	}
	delete(s.sets, name)
	list := s.byService[old.Service]
	at, _ := slices.BinarySearchFunc(list, name, compareName)
	if s.byService[old.Service] = slices.Concat(list[:at], list[at+1:]); len(list) == 1 {
		delete(s.byService, old.Service)
	}
	dirty.service(old.Service)
}

func (s *State) remove(name resource.Name, dirty *Dirty) {
	switch name.Kind {
	case discoveryv1.Kind_KIND_SERVICE:
		delete(s.services, name.Name)
		dirty.service(name.Name)
	case discoveryv1.Kind_KIND_ENDPOINT_SET:
		s.unlink(name.Name, dirty)
	case discoveryv1.Kind_KIND_LOCAL_ENDPOINTS:
		delete(s.locals, name.Name)
		dirty.service(name.Name)
	case discoveryv1.Kind_KIND_NODE_CONFIG:
		s.config = nil
		dirty.Config = true
	case discoveryv1.Kind_KIND_CLUSTER_CONFIG:
		s.cluster = nil
		dirty.Config = true
	default:
		// A kind of a newer protocol is never held.
	}
}

// Service returns a Service, or nil.
func (s *State) Service(name string) *Service { return s.services[name] }

// Services returns the names of all Services, ordered.
func (s *State) Services() []string { return slices.Sorted(maps.Keys(s.services)) }

// EndpointSets returns a Service's EndpointSets, ordered by name. The list is not to be
// changed.
func (s *State) EndpointSets(service string) []*EndpointSet { return s.byService[service] }

// Local returns a Service's endpoints on this node, or nil.
func (s *State) Local(service string) *LocalEndpoints { return s.locals[service] }

// Config returns the node's configuration, or nil if the control plane does not
// know the node.
func (s *State) Config() *NodeConfig { return s.config }

// Cluster returns what is known of the cluster, or nil.
func (s *State) Cluster() *ClusterConfig { return s.cluster }

// Version returns that of a Service or of the node's configuration in the state, or
// zero.
func (s *State) Version(name resource.Name) uint64 {
	switch name.Kind {
	case discoveryv1.Kind_KIND_SERVICE:
		if r := s.services[name.Name]; r != nil {
			return r.Version
		}
	case discoveryv1.Kind_KIND_NODE_CONFIG:
		if s.config != nil {
			return s.config.Version
		}
	default:
		// Of the others nobody asks.
	}
	return 0
}

// Held returns the versions of everything in the state, for resuming a stream.
func (s *State) Held() map[resource.Name]uint64 {
	held := make(map[resource.Name]uint64, len(s.services)+len(s.sets)+len(s.locals)+2)
	for name, r := range s.services {
		held[resource.Name{Kind: discoveryv1.Kind_KIND_SERVICE, Name: name}] = r.Version
	}
	for name, r := range s.sets {
		held[resource.Name{Kind: discoveryv1.Kind_KIND_ENDPOINT_SET, Name: name}] = r.Version
	}
	for name, r := range s.locals {
		held[resource.Name{Kind: discoveryv1.Kind_KIND_LOCAL_ENDPOINTS, Name: name}] = r.Version
	}
	if s.config != nil {
		held[resource.Name{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: s.config.Name}] = s.config.Version
	}
	if s.cluster != nil {
		held[resource.Name{Kind: discoveryv1.Kind_KIND_CLUSTER_CONFIG, Name: resource.ClusterConfigName}] = s.cluster.Version
	}
	return held
}
