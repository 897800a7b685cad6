package e2e_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/portolan-net/portolan/test/e2e/internal/lab"
	"github.com/portolan-net/portolan/test/e2e/internal/traffic"
)

func (w *world) createService(t *testing.T) {
	service := need(w.objects.CreateService(t.Context(), "web", corev1.ServiceTypeClusterIP))(t)
	check(t, w.objects.SetEndpoints(t.Context(), "web", w.a.IP, w.b.IP))
	w.web = service.Spec.ClusterIP + ":80"
	w.expectAnswers(t, w.web, w.a, w.b)
}

func (w *world) changeEndpoints(t *testing.T) {
	check(t, w.objects.SetEndpoints(t.Context(), "web", w.a.IP, w.b.IP, w.c.IP))
	w.expectAnswers(t, w.web, w.a, w.b, w.c)
	check(t, w.objects.SetEndpoints(t.Context(), "web", w.a.IP))
	w.expectAnswers(t, w.web, w.a)
	w.conversation = need(traffic.Converse(w.client, w.web))(t)
}

func (w *world) withoutEndpoints(t *testing.T) {
	service := need(w.objects.CreateService(t.Context(), "empty", corev1.ServiceTypeClusterIP))(t)
	eventually(t, func() error {
		begun := time.Now()
		name, err := traffic.Ask(w.client, service.Spec.ClusterIP+":80")
		if !isRefused(err) {
			return fmt.Errorf("%q answers, error %w; want a refusal", name, err)
		}
		if took := time.Since(begun); took > 300*time.Millisecond {
			return fmt.Errorf("refused after %v", took)
		}
		return nil
	})
}

func (w *world) nodePort(t *testing.T) {
	service := need(w.objects.CreateService(t.Context(), "door", corev1.ServiceTypeNodePort))(t)
	check(t, w.objects.SetEndpoints(t.Context(), "door", w.b.IP))
	door := fmt.Sprintf("%s:%d", lab.NodeIP, service.Spec.Ports[0].NodePort)
	for _, from := range []*lab.Host{w.outside, w.client} {
		eventually(t, func() error {
			name, err := traffic.Ask(from, door)
			if err == nil && name != w.b.Name {
				err = fmt.Errorf("%s answers, want %s", name, w.b.Name)
			}
			return err
		})
	}
}

func (w *world) deleteService(t *testing.T) {
	service := need(w.objects.CreateService(t.Context(), "brief", corev1.ServiceTypeClusterIP))(t)
	check(t, w.objects.SetEndpoints(t.Context(), "brief", w.c.IP))
	brief := service.Spec.ClusterIP + ":80"
	w.expectAnswers(t, brief, w.c)
	check(t, w.objects.DeleteService(t.Context(), "brief"))
	eventually(t, func() error {
		if name, err := traffic.Ask(w.client, brief); !isSilence(err) {
			return fmt.Errorf("%q answers, error %v; want silence", name, err)
		}
		return nil
	})
}
