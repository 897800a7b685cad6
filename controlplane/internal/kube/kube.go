package kube

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Config says which API server to follow and where its objects go.
type Config struct {
	// Kubeconfig is the path of a kubeconfig file. Empty means the cluster that the
	// process runs in.
	Kubeconfig string
	// ClusterID tells this cluster's versions from those of other clusters. All
	// replicas of a control plane have the same.
	ClusterID string
	Logger    hclog.Logger
	Writer    *admission.Writer
}

// kinds is the number of kinds that are synced.
const kinds = 4

// source is a running Config.
type source struct {
	name   string
	client kubernetes.Interface
	log    hclog.Logger
	writer *admission.Writer
	// waiting counts the kinds that have not been listed yet. It is used within
	// updates only.
	waiting int
}

// Run follows the API server until ctx ends, which is not an error. An API server
// that cannot be reached is not one either: Run logs it and tries again.
func Run(ctx context.Context, cfg Config) error {
	client, err := newClient(cfg.Kubeconfig)
	if err != nil {
		return err
	}
	newSource(client, cfg).run(ctx)
	return nil
}

func newSource(client kubernetes.Interface, cfg Config) *source {
	return &source{
		name: "kubernetes/" + cfg.ClusterID, client: client,
		log: cfg.Logger, writer: cfg.Writer, waiting: kinds,
	}
}

// synced counts a kind as listed; after the last one everything is.
func (s *source) synced(b *admission.Batch) {
	if s.waiting--; s.waiting == 0 {
		b.SetSynced()
		s.log.Info("synced with the API server", "source", s.name)
	}
}

func (s *source) run(ctx context.Context) {
	// client-go's own lines repeat with every attempt; reach logs what matters.
	ctx = klog.NewContext(ctx, logr.Discard())
	var wg sync.WaitGroup
	wg.Go(func() { s.services(ctx) })
	wg.Go(func() { s.endpointSlices(ctx) })
	wg.Go(func() { s.nodes(ctx) })
	wg.Go(func() { s.serviceCIDRs(ctx) })
	wg.Wait()
}

func (s *source) services(ctx context.Context) {
	api := s.client.CoreV1().Services(metav1.NamespaceAll)
	follow(ctx, s, "Service", &sink[*corev1.Service]{
		set:     (*admission.Batch).SetService,
		remove:  (*admission.Batch).DeleteService,
		version: func(v *model.SourceVersion) *uint64 { return &v.Services },
	}, listWatch(api.List, api.Watch))
}

func (s *source) endpointSlices(ctx context.Context) {
	api := s.client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	follow(ctx, s, "EndpointSlice", &sink[*discoveryv1.EndpointSlice]{
		set:     (*admission.Batch).SetEndpointSlice,
		remove:  (*admission.Batch).DeleteEndpointSlice,
		version: func(v *model.SourceVersion) *uint64 { return &v.EndpointSlices },
	}, listWatch(api.List, api.Watch))
}

func (s *source) nodes(ctx context.Context) {
	api := s.client.CoreV1().Nodes()
	follow(ctx, s, "Node", &sink[*corev1.Node]{
		set:     (*admission.Batch).SetNode,
		remove:  func(b *admission.Batch, key model.Key) { b.DeleteNode(key.Name) },
		version: func(v *model.SourceVersion) *uint64 { return &v.Nodes },
	}, listWatch(api.List, api.Watch))
}

// serviceCIDRs follows ServiceCIDRs where the API server has them: since
// Kubernetes 1.33, and only if they are not switched off.
func (s *source) serviceCIDRs(ctx context.Context) {
	served, err := s.servesServiceCIDRs(ctx)
	if err != nil {
		return
	}
	if !served {
		s.log.Info("the API server has no ServiceCIDRs; packets to unused ClusterIPs are not dropped")
		s.writer.Update(s.synced)
		return
	}
	api := s.client.NetworkingV1().ServiceCIDRs()
	follow(ctx, s, "ServiceCIDR", &sink[*networkingv1.ServiceCIDR]{
		set:     (*admission.Batch).SetServiceCIDR,
		remove:  func(b *admission.Batch, key model.Key) { b.DeleteServiceCIDR(key.Name) },
		version: func(v *model.SourceVersion) *uint64 { return &v.ServiceCIDRs },
	}, listWatch(api.List, api.Watch))
}

// servesServiceCIDRs asks until there is an answer or ctx ends.
func (s *source) servesServiceCIDRs(ctx context.Context) (served bool, err error) {
	r := &reach{log: s.log, kind: "APIResourceList"}
	err = backoff().DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		list, err := s.client.Discovery().ServerResourcesForGroupVersion(networkingv1.SchemeGroupVersion.String())
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		r.record(ctx, err)
		if err != nil {
			return false, nil //nolint:nilerr // Recorded above; asked again.
		}
		for _, resource := range list.APIResources {
			served = served || resource.Name == "servicecidrs"
		}
		return true, nil
	})
	return served, err
}

// backoff is between attempts to reach the API server. It is shorter than
// client-go's, which waits up to a minute: a control plane has few replicas, and a
// node that waits for its endpoints should not wait for that too.
func backoff() *wait.Backoff {
	return &wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 1, Steps: 8, Cap: 2 * time.Second}
}

// calm is how long attempts must have gone well for backoff to begin anew.
const calm = 2 * time.Minute

// follow keeps a sink equal to the API server until ctx ends.
func follow[T interface {
	metav1.Object
	comparable
}](ctx context.Context, s *source, kind string, into *sink[T], lw *cache.ListWatch) {
	into.source, into.known = s, map[model.Key]struct{}{}
	r := &reach{log: s.log, kind: kind}
	log := logr.Discard()
	var example T
	reflector := cache.NewReflectorWithOptions(
		cache.ToListWatcherWithWatchListSemantics(r.listerWatcher(lw), s.client),
		example, into,
		cache.ReflectorOptions{Logger: &log, Name: kind, TypeDescription: kind, Backoff: backoff()},
	)
	// Reflector.RunWithContext does the same, but hands errors to a handler of the
	// whole process.
	_ = backoff().DelayWithReset(clock.RealClock{}, calm).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		if err := reflector.ListAndWatchWithContext(ctx); err != nil {
			r.record(ctx, err)
		}
		return false, nil
	})
}

// listWatch makes one of a typed client's methods.
func listWatch[L runtime.Object](
	list func(context.Context, metav1.ListOptions) (L, error),
	watchFrom func(context.Context, metav1.ListOptions) (watch.Interface, error),
) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return list(ctx, options)
		},
		WatchFuncWithContext: watchFrom,
	}
}
