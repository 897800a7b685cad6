package kube

import (
	"context"
	"encoding/json"
	"fmt"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Events writes Events to an API server.
type Events struct{ client kubernetes.Interface }

// NewEvents returns what writes to the API server of a kubeconfig, or of the cluster
// that the process runs in if the path is empty.
func NewEvents(kubeconfig string) (*Events, error) {
	client, err := newClient(kubeconfig)
	if err != nil {
		return nil, err
	}
	return EventsOf(client), nil
}

// EventsOf returns what writes through a client.
func EventsOf(client kubernetes.Interface) *Events { return &Events{client} }

// UID looks an object up by kind, namespace and name. It may be answered from the
// API server's cache.
func (e *Events) UID(ctx context.Context, kind, namespace, name string) (types.UID, error) {
	var object metav1.Object
	var err error
	options := metav1.GetOptions{ResourceVersion: "0"}
	switch kind {
	case "Service":
		object, err = e.client.CoreV1().Services(namespace).Get(ctx, name, options)
	case "EndpointSlice":
		object, err = e.client.DiscoveryV1().EndpointSlices(namespace).Get(ctx, name, options)
	case "Node":
		object, err = e.client.CoreV1().Nodes().Get(ctx, name, options)
	default:
		return "", fmt.Errorf("kind %q: expected Service, EndpointSlice or Node", kind)
	}
	if err != nil {
		return "", err
	}
	return object.GetUID(), nil
}

// Create writes an Event.
func (e *Events) Create(ctx context.Context, event *eventsv1.Event) error {
	_, err := e.client.EventsV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
	return err
}

// Repeat counts an Event that is there already.
func (e *Events) Repeat(ctx context.Context, namespace, name string, series eventsv1.EventSeries) error {
	patch, err := json.Marshal(map[string]any{"series": series})
	if err != nil {
		return err
	}
	_, err = e.client.EventsV1().Events(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
