package kube

import (
	"context"
	"fmt"
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
)

// pageSize bounds the Services of one answer.
const pageSize = 500

// Lister reads an API server's Services anew, apart from any watch.
type Lister struct {
	client kubernetes.Interface
}

// NewLister returns a lister for the API server of a kubeconfig, or of the cluster
// that the process runs in if the path is empty.
func NewLister(kubeconfig string) (*Lister, error) {
	client, err := newClient(kubeconfig)
	if err != nil {
		return nil, err
	}
	return &Lister{client}, nil
}

// Services puts all Services into the writer. Without a resource version the API
// server answers from etcd and not from its watch cache, which may be what is wrong.
func (l *Lister) Services(ctx context.Context, into *admission.Writer) error {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := l.client.CoreV1().Services(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return fmt.Errorf("listing the Services of the API server: %w", err)
		}
		into.Update(func(b *admission.Batch) {
			for i := range page.Items {
				b.SetService(&page.Items[i])
			}
		})
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}

// Newest returns how new a Service and its EndpointSlices of the API server are now; zero for
// what there is not.
func (l *Lister) Newest(ctx context.Context, namespace, name string) (service, slices uint64, err error) {
	found, err := l.client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return 0, 0, fmt.Errorf("reading Service %s/%s of the API server: %w", namespace, name, err)
	default:
		if service, err = version(found.ResourceVersion); err != nil {
			return 0, 0, err
		}
	}
	owned, err := l.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name})
	if err != nil {
		return 0, 0, fmt.Errorf("listing the EndpointSlices of Service %s/%s of the API server: %w", namespace, name, err)
	}
	for i := range owned.Items {
		newest, err := version(owned.Items[i].ResourceVersion)
		if err != nil {
			return 0, 0, err
		}
		slices = max(slices, newest)
	}
	return service, slices, nil
}

func version(text string) (uint64, error) {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("resource version %q of the API server: expected a number", text)
	}
	return number, nil
}
