package cluster

import (
	"maps"
	"reflect"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Tx changes a Store inside Update.
type Tx struct{ s *Store }

// SetService adds or replaces a Service.
func (t *Tx) SetService(service *model.Service) {
	if old := t.s.services[service.Key]; old != nil && reflect.DeepEqual(old, service) {
		return
	}
	t.s.services[service.Key] = service
	t.markService(service.Key)
}

// DeleteService removes a Service if it is there.
func (t *Tx) DeleteService(key model.Key) {
	if _, ok := t.s.services[key]; !ok {
		return
	}
	delete(t.s.services, key)
	t.markService(key)
}

// SetSlice adds or replaces an EndpointSlice; it may move to another Service.
func (t *Tx) SetSlice(slice *model.Slice) {
	old := t.s.slices[slice.Key]
	if old != nil {
		if reflect.DeepEqual(old, slice) {
			return
		}
		if old.Service != slice.Service {
			t.unlink(old)
		}
	}
	t.s.slices[slice.Key] = slice
	owner := slice.ServiceKey()
	if t.s.byService[owner] == nil {
		t.s.byService[owner] = map[string]*model.Slice{}
	}
	t.s.byService[owner][slice.Name] = slice
	t.markService(owner)
}

// DeleteSlice removes an EndpointSlice if it is there.
func (t *Tx) DeleteSlice(key model.Key) {
	old := t.s.slices[key]
	if old == nil {
		return
	}
	delete(t.s.slices, key)
	t.unlink(old)
}

func (t *Tx) unlink(slice *model.Slice) {
	owner := slice.ServiceKey()
	delete(t.s.byService[owner], slice.Name)
	if len(t.s.byService[owner]) == 0 {
		delete(t.s.byService, owner)
	}
	t.markService(owner)
}

// SetNode adds or replaces a Node.
func (t *Tx) SetNode(node *model.Node) {
	if old := t.s.nodes[node.Name]; old != nil && reflect.DeepEqual(old, node) {
		return
	}
	t.s.nodes[node.Name] = node
	t.markNode(node.Name)
}

// DeleteNode removes a Node if it is there.
func (t *Tx) DeleteNode(name string) {
	if _, ok := t.s.nodes[name]; !ok {
		return
	}
	delete(t.s.nodes, name)
	t.markNode(name)
}

// SetServiceCIDR adds or replaces a ServiceCIDR.
func (t *Tx) SetServiceCIDR(cidr *model.ServiceCIDR) {
	if old := t.s.cidrs[cidr.Name]; old != nil && reflect.DeepEqual(old, cidr) {
		return
	}
	t.s.cidrs[cidr.Name] = cidr
	t.s.dirty.ServiceCIDRs = true
}

// DeleteServiceCIDR removes a ServiceCIDR if it is there.
func (t *Tx) DeleteServiceCIDR(name string) {
	if _, ok := t.s.cidrs[name]; ok {
		delete(t.s.cidrs, name)
		t.s.dirty.ServiceCIDRs = true
	}
}

// SetVersion records the point in the source's history.
func (t *Tx) SetVersion(version model.SourceVersion) { t.s.version = version }

// Version returns the recorded point in the source's history.
func (t *Tx) Version() model.SourceVersion { return t.s.version }

// SetSynced records that the source has delivered everything once.
func (t *Tx) SetSynced() { t.s.synced = true }

// Services returns the keys of all Services, for sources that replace them all.
func (t *Tx) Services() []model.Key { return keys(t.s.services) }

// Slices returns the keys of all EndpointSlices.
func (t *Tx) Slices() []model.Key { return keys(t.s.slices) }

// Nodes returns the names of all Nodes.
func (t *Tx) Nodes() []string { return keys(t.s.nodes) }

// ServiceCIDRs returns the names of all ServiceCIDRs.
func (t *Tx) ServiceCIDRs() []string { return keys(t.s.cidrs) }

func keys[K comparable, V any](m map[K]V) []K {
	list := make([]K, 0, len(m))
	for k := range maps.Keys(m) {
		list = append(list, k)
	}
	return list
}

func (t *Tx) markService(key model.Key) {
	if t.s.dirty.Services == nil {
		t.s.dirty.Services = map[model.Key]struct{}{}
	}
	t.s.dirty.Services[key] = struct{}{}
}

func (t *Tx) markNode(name string) {
	if t.s.dirty.Nodes == nil {
		t.s.dirty.Nodes = map[string]struct{}{}
	}
	t.s.dirty.Nodes[name] = struct{}{}
}
