package introspection

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// viewReader reads a view for people.
type viewReader struct {
	view snapshot.View
}

func (r viewReader) get(kind discoveryv1.Kind, name string) (*discoveryv1.Resource, error) {
	entry := r.view.Get(resource.Name{Kind: kind, Name: name})
	if entry == nil {
		return nil, nil
	}
	return decode(entry)
}

func decode(entry *snapshot.Entry) (*discoveryv1.Resource, error) {
	decoded, err := entry.Decode()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return decoded, nil
}

func (r viewReader) nodeConfig() (*discoveryv1.NodeConfig, error) {
	if r.view.Node() == "" {
		return nil, nil
	}
	found, err := r.get(discoveryv1.Kind_KIND_NODE_CONFIG, r.view.Node())
	return found.GetNodeConfig(), err
}

func (r viewReader) clusterConfig() (*discoveryv1.ClusterConfig, error) {
	found, err := r.get(discoveryv1.Kind_KIND_CLUSTER_CONFIG, resource.ClusterConfigName)
	return found.GetClusterConfig(), err
}

// service returns one Service.
func (r viewReader) service(name string) (*introspectionv1.ServiceView, error) {
	found, err := r.get(discoveryv1.Kind_KIND_SERVICE, name)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, notFound("Service", name, r.services())
	}
	namespace, _ := resource.SplitName(name)
	sets, err := r.endpointSets(namespace + "/")
	if err != nil {
		return nil, err
	}
	return r.assemble(found, sets[name])
}

// all returns every Service, ordered by name.
func (r viewReader) all() ([]*introspectionv1.ServiceView, error) {
	sets, err := r.endpointSets("")
	if err != nil {
		return nil, err
	}
	var list []*introspectionv1.ServiceView
	for entry := range r.view.Bucket(discoveryv1.Kind_KIND_SERVICE, 0, 1) {
		found, err := decode(entry)
		if err != nil {
			return nil, err
		}
		service, err := r.assemble(found, sets[found.GetName()])
		if err != nil {
			return nil, err
		}
		list = append(list, service)
	}
	slices.SortFunc(list, func(a, b *introspectionv1.ServiceView) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return list, nil
}

func (r viewReader) assemble(service *discoveryv1.Resource, sets []*discoveryv1.EndpointSet) (*introspectionv1.ServiceView, error) {
	local, err := r.get(discoveryv1.Kind_KIND_LOCAL_ENDPOINTS, service.GetName())
	if err != nil {
		return nil, err
	}
	return &introspectionv1.ServiceView{
		Name: service.GetName(), Version: service.GetVersion(), Service: service.GetService(),
		Ports: ports(service.GetService(), sets, local.GetLocalEndpoints()),
	}, nil
}

// endpointSets returns the EndpointSets whose names have the prefix, by Service.
func (r viewReader) endpointSets(prefix string) (map[string][]*discoveryv1.EndpointSet, error) {
	byService := map[string][]*discoveryv1.EndpointSet{}
	for entry := range r.view.Bucket(discoveryv1.Kind_KIND_ENDPOINT_SET, 0, 1) {
		if !strings.HasPrefix(entry.Name.Name, prefix) {
			continue
		}
		found, err := decode(entry)
		if err != nil {
			return nil, err
		}
		set := found.GetEndpointSet()
		byService[set.GetService()] = append(byService[set.GetService()], set)
	}
	return byService, nil
}

// services returns the names of all Services in the view.
func (r viewReader) services() map[string]struct{} {
	names := map[string]struct{}{}
	for entry := range r.view.Bucket(discoveryv1.Kind_KIND_SERVICE, 0, 1) {
		names[entry.Name.Name] = struct{}{}
	}
	return names
}
