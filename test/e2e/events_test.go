package e2e_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portolan-net/portolan/test/e2e/internal/apiserver"
	"github.com/portolan-net/portolan/test/e2e/internal/lab"
)

const (
	// taken is a health-check node port on which somebody else listens.
	taken = 32123
	// stray is an external IP in the ServiceCIDR.
	stray = "198.51.100.77"
)

// events sees the API server take the Events of both replicas, each once, and finds
// them as kubectl describe does: by the object's UID.
func (w *world) events(t *testing.T) {
	node := need(w.server.Client.CoreV1().Nodes().Get(t.Context(), nodeName, metav1.GetOptions{}))(t)
	w.expectEvent(t, metav1.NamespaceDefault, node, "Starting", corev1.EventTypeNormal, "portolan-agent")

	outside := need(w.server.Client.CoreV1().Services("e2e").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "stray"},
		Spec:       corev1.ServiceSpec{ExternalIPs: []string{stray}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{}))(t)
	w.expectEvent(t, "e2e", outside, "Rejected", corev1.EventTypeWarning,
		fmt.Sprintf("spec.externalIPs[0] %q: lies in ServiceCIDR kubernetes (%s)", stray, apiserver.ServiceCIDR))

	listener := need(net.Listen("tcp4", fmt.Sprintf("%s:%d", lab.NodeIP, taken)))(t)
	defer listener.Close()
	checked := need(w.server.Client.CoreV1().Services("e2e").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "checked"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
			HealthCheckNodePort: taken, Ports: []corev1.ServicePort{{Port: 80}},
		},
	}, metav1.CreateOptions{}))(t)
	w.expectEvent(t, "e2e", checked, "FailedToStartServiceHealthcheck", corev1.EventTypeWarning,
		fmt.Sprintf("node %s: cannot listen on health-check node port %d", nodeName, taken))
}

// expectEvent waits for an Event of an object, of which there must be one alone.
func (w *world) expectEvent(t *testing.T, namespace string, object metav1.Object, reason, kind, note string) {
	t.Helper()
	eventually(t, func() error {
		list, err := w.server.Client.EventsV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		var found []eventsv1.Event
		for _, event := range list.Items {
			if event.Regarding.UID == object.GetUID() && event.Reason == reason {
				found = append(found, event)
			}
		}
		if len(found) != 1 || found[0].Type != kind || !strings.Contains(found[0].Note, note) {
			return fmt.Errorf("events with reason %s of %s: %v; want one %s with %q", reason, object.GetName(), found, kind, note)
		}
		return nil
	})
}
