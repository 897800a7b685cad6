package kube

import (
	"context"
	"fmt"

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
