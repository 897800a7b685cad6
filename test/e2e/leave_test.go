package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/portolan-net/portolan/test/e2e/internal/cluster"
	"github.com/portolan-net/portolan/test/e2e/internal/lab"
	"github.com/portolan-net/portolan/test/e2e/internal/product"
	"github.com/portolan-net/portolan/test/e2e/internal/traffic"
)

// waits runs portolan wait at all replicas.
func (w *world) waits(t *testing.T, args ...string) string {
	t.Helper()
	var servers []string
	for _, r := range w.replicas {
		servers = append(servers, r.admin)
	}
	return product.Everything(t.Context(), "portolan", append([]string{"wait", "--for", "4s", "--server", strings.Join(servers, ",")}, args...)...)
}

// waitForChanges writes, waits, and finds packets where they should be, at once.
func (w *world) waitForChanges(t *testing.T) {
	service := need(w.objects.CreateService(t.Context(), "awaited", corev1.ServiceTypeClusterIP))(t)
	address := service.Spec.ClusterIP + ":80"
	says := func(got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwant %q", got, want)
		}
	}
	// Where no other Service sends to.
	for _, other := range []string{"door", "flip"} {
		check(t, w.objects.SetEndpoints(t.Context(), other, w.a.IP))
	}
	at, other := w.b, w.c
	for range 10 {
		check(t, w.objects.SetEndpoints(t.Context(), "awaited", at.IP))
		says(w.waits(t, "service/e2e/awaited"), "1 of 1 nodes have applied it, after")
		if name, err := traffic.Ask(w.client, address); name != at.Name {
			t.Errorf("after the wait %q answers, error %v; want %s", name, err, at.Name)
		}
		at, other = other, at
	}
	says(w.waits(t, "service/e2e/awaited", "--endpoint", other.IP), "have applied it")
	says(w.waits(t, "service/e2e/awaited", "--endpoint", at.IP, "--for", "1s"), "not within 1s: 0 of 1 nodes have applied it; Service e2e/awaited does not send to "+at.IP)
	says(w.waits(t, "--without", at.IP), "have applied it")
	says(w.waits(t, "--without", other.IP, "--for", "1s"), "Service e2e/awaited still sends to "+other.IP)
	says(w.waits(t, "service/e2e/nonesuch", "--for", "1s"), "there is no Service e2e/nonesuch that is proxied")
	check(t, w.objects.DeleteService(t.Context(), "awaited"))
}

// leave takes the pods of a Service away and back, each in turn, under connections: with the
// hook, which waits until no node sends to the pod, none fails; without it some do.
func (w *world) leave(t *testing.T) {
	// Where no other Service sends to.
	for _, other := range []string{"web", "door", "flip"} {
		check(t, w.objects.SetEndpoints(t.Context(), other, w.c.IP))
	}
	defer func() {
		check(t, w.objects.SetEndpoints(t.Context(), "web", w.a.IP))
		w.expectAnswers(t, w.web, w.a)
	}()
	service := need(w.objects.CreateService(t.Context(), "rolling", corev1.ServiceTypeClusterIP))(t)
	address := service.Spec.ClusterIP + ":80"
	roll := func(hook func(pod *lab.Host) error) traffic.Result {
		t.Helper()
		check(t, w.objects.SetEndpoints(t.Context(), "rolling", w.a.IP, w.b.IP))
		w.expectAnswers(t, address, w.a, w.b)
		stream := traffic.Start(w.client, address, 100*time.Microsecond)
		for i := range 20 {
			leaves, stays := w.a, w.b
			if i%2 == 1 {
				leaves, stays = w.b, w.a
			}
			check(t, w.objects.SetEndpoints(t.Context(), "rolling", stays.IP))
			check(t, hook(leaves))
			check(t, leaves.StopServing())
			time.Sleep(10 * time.Millisecond)
			check(t, leaves.Serve(cluster.TargetPort))
			check(t, w.objects.SetEndpoints(t.Context(), "rolling", w.a.IP, w.b.IP))
			w.expectAnswers(t, address, w.a, w.b)
		}
		return stream.Stop()
	}
	var waited time.Duration
	with := roll(func(pod *lab.Host) error {
		begun := time.Now()
		status, text, err := pod.Get(fmt.Sprintf("http://%s:10256/endpoint-unused?timeout=5s", lab.NodeIP), soon)
		waited += time.Since(begun)
		if err == nil && (status != http.StatusOK || !strings.HasPrefix(text, pod.IP+" is not in use any more: 1 of 1 nodes")) {
			err = fmt.Errorf("%d %s", status, text)
		}
		return err
	})
	// How long it takes a node to have a change is a few milliseconds, so that some rolls may
	// have luck.
	var without traffic.Result
	for range 10 {
		if without = roll(func(*lab.Host) error { return nil }); len(without.Failures) > 0 {
			break
		}
	}
	t.Logf("with the hook: %s; it waited %s on average", with, waited/20)
	t.Logf("without: %s", without)
	if len(with.Failures) > 0 {
		t.Errorf("with the hook: %s", with)
	}
	if len(without.Failures) == 0 {
		t.Error("without the hook nothing fails: this test shows nothing")
	}
	for url, want := range map[string]int{
		"?address=" + w.b.IP: http.StatusForbidden, "?timeout=soon": http.StatusBadRequest, "?address=web": http.StatusBadRequest,
	} {
		if status, text, err := w.a.Get(fmt.Sprintf("http://%s:10256/endpoint-unused%s", lab.NodeIP, url), soon); status != want {
			t.Errorf("%s: %d %s, %v: want %d", url, status, text, err, want)
		}
	}
	status, text, err := w.b.Get(fmt.Sprintf("http://%s:10256/endpoint-unused?timeout=2s", lab.NodeIP), soon)
	if status != http.StatusServiceUnavailable || !strings.Contains(text, "Service e2e/rolling still sends to "+w.b.IP) {
		t.Errorf("a pod that is in use: %d %s, %v", status, text, err)
	}
	check(t, w.objects.DeleteService(t.Context(), "rolling"))
}
