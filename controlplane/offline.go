package controlplane

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	kubediscoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/kubeobjects"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
	"github.com/portolan-net/portolan/controlplane/reference"
)

// Offline is a control plane without source and servers: objects go in, what a
// node should hold comes out. It is for tests and tools, and belongs to one
// goroutine.
type Offline struct {
	objects   *cluster.Store
	writer    *admission.Writer
	snapshots *snapshot.Store
	driver    *round.Driver
}

// NewOffline returns a control plane of an empty cluster.
func NewOffline(config ProxyConfig) (*Offline, error) {
	settings, _, err := config.settings()
	if err != nil {
		return nil, err
	}
	o := newOffline(settings, hclog.NewNullLogger())
	o.writer.Update(func(b *admission.Batch) { b.SetSynced() })
	o.driver.Round()
	return o, nil
}

// newOffline returns a control plane whose source has not delivered anything yet.
func newOffline(settings compile.Settings, logger hclog.Logger) *Offline {
	o := &Offline{objects: cluster.NewStore(), snapshots: snapshot.NewStore(time.Now)}
	o.writer = admission.NewWriter(o.objects, hclog.NewNullLogger(), admission.DefaultLimits())
	o.driver = round.New(round.Config{Cluster: o.objects, Snapshots: o.snapshots, Settings: settings, Logger: logger})
	return o
}

// Update sets and deletes objects as one change: Services, EndpointSlices, Nodes
// and ServiceCIDRs.
func (o *Offline) Update(set, deleted []metav1.Object) error {
	var err error
	o.writer.Update(func(b *admission.Batch) {
		for _, object := range deleted {
			remove(b, object)
		}
		for _, object := range set {
			if e := put(b, object); e != nil {
				err = e
			}
		}
	})
	if err != nil {
		return err
	}
	o.driver.Round()
	return nil
}

func put(b *admission.Batch, object metav1.Object) error {
	switch object := object.(type) {
	case *corev1.Service:
		b.SetService(object)
	case *kubediscoveryv1.EndpointSlice:
		b.SetEndpointSlice(object)
	case *corev1.Node:
		b.SetNode(object)
	case *networkingv1.ServiceCIDR:
		b.SetServiceCIDR(object)
	default:
		return fmt.Errorf("%T %s: expected a Service, EndpointSlice, Node or ServiceCIDR", object, object.GetName())
	}
	return nil
}

func remove(b *admission.Batch, object metav1.Object) {
	key := model.Key{Namespace: object.GetNamespace(), Name: object.GetName()}
	switch object.(type) {
	case *corev1.Service:
		b.DeleteService(key)
	case *kubediscoveryv1.EndpointSlice:
		b.DeleteEndpointSlice(key)
	case *corev1.Node:
		b.DeleteNode(key.Name)
	case *networkingv1.ServiceCIDR:
		b.DeleteServiceCIDR(key.Name)
	}
}

// Cluster returns the objects in force, turned back from the model.
func (o *Offline) Cluster() reference.Cluster {
	var c reference.Cluster
	for _, key := range o.objects.Services() {
		service, slices := o.objects.Service(key)
		c.Services = append(c.Services, kubeobjects.Service(service))
		for _, slice := range slices {
			c.Slices = append(c.Slices, kubeobjects.Slice(slice))
		}
	}
	for _, node := range o.objects.Nodes() {
		c.Nodes = append(c.Nodes, kubeobjects.Node(node))
	}
	for _, cidr := range o.objects.ServiceCIDRs() {
		c.ServiceCIDRs = append(c.ServiceCIDRs, kubeobjects.ServiceCIDR(cidr))
	}
	return c
}

// Problems returns what is not in force, a line each.
func (o *Offline) Problems() []string {
	var lines []string
	for _, problem := range o.objects.Problems() {
		lines = append(lines, problem.String())
	}
	return lines
}

// Follower follows what one node should hold, as its stream would.
type Follower struct {
	store *snapshot.Store
	held  snapshot.View
}

// Follow returns a follower of a node, and all that the node should hold now.
func (o *Offline) Follow(node string) (*Follower, []*discoveryv1.Resource, error) {
	f := &Follower{store: o.snapshots, held: o.snapshots.Current().View(node)}
	var entries []*snapshot.Entry
	for entry := range f.held.All(func(discoveryv1.Kind) bool { return true }) {
		entries = append(entries, entry)
	}
	resources, err := decode(entries)
	return f, resources, err
}

// Next returns what has changed for the node since the last call.
func (f *Follower) Next() (set []*discoveryv1.Resource, removed []resource.Name, err error) {
	view, way, ok := f.held.To(f.store.Current())
	if !ok {
		return nil, nil, fmt.Errorf("revision %d is beyond the change log", f.held.Snapshot().Revision)
	}
	f.held = view
	var entries []*snapshot.Entry
	for _, step := range way.Steps() {
		if step.To == nil {
			removed = append(removed, step.Name())
			continue
		}
		entries = append(entries, step.To)
	}
	set, err = decode(entries)
	return set, removed, err
}

func decode(entries []*snapshot.Entry) ([]*discoveryv1.Resource, error) {
	resources := make([]*discoveryv1.Resource, len(entries))
	for i, entry := range entries {
		var err error
		if resources[i], err = entry.Decode(); err != nil {
			return nil, err
		}
	}
	return resources, nil
}
