package healthcheck

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/ruleset"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// rig is a running server.
type rig struct {
	*Server
	healthy atomic.Bool
	mu      sync.Mutex
	warned  []string
}

// warn notes warnings as text; none is "well".
func (r *rig) warn(list []*discoveryv1.Warning) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := "well"
	for _, w := range list {
		text = fmt.Sprint(w.GetName().GetKind(), " ", w.GetName().GetName(), " ", w.GetReason(), ": ", w.GetMessage())
	}
	r.warned = append(r.warned, text)
}

func start(t *testing.T) *rig {
	r := &rig{}
	r.healthy.Store(true)
	r.Server = New(hclog.NewNullLogger(), r.healthy.Load, r.warn)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// freePort returns an address that nobody listens on.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return netip.MustParseAddrPort(listener.Addr().String())
}

// ask returns an answer as "status weight body".
func ask(t *testing.T, addr netip.AddrPort, path string) string {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + addr.String() + path)
	if err != nil {
		return "no answer"
	}
	defer func() { _ = response.Body.Close() }()
	var body map[string]any
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"} {
		if got := response.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	return fmt.Sprint(response.StatusCode, " ", response.Header.Get("X-Load-Balancing-Endpoint-Weight"), " ", body)
}

func TestTheAnswerSaysWhetherThereAreEndpointsHere(t *testing.T) {
	r, addr := start(t), freePort(t)
	for _, test := range []struct {
		ready   int
		healthy bool
		path    string
		want    string
	}{
		{2, true, "/", "200 2 map[localEndpoints:2 service:map[name:web namespace:demo] serviceProxyHealthy:true]"},
		{2, true, "/any/path", "200 2 map[localEndpoints:2 service:map[name:web namespace:demo] serviceProxyHealthy:true]"},
		{0, true, "/", "503 0 map[localEndpoints:0 service:map[name:web namespace:demo] serviceProxyHealthy:true]"},
		{2, false, "/", "503 2 map[localEndpoints:2 service:map[name:web namespace:demo] serviceProxyHealthy:false]"},
	} {
		r.healthy.Store(test.healthy)
		r.Update([]ruleset.HealthCheck{{Listen: addr, Service: "demo/web", Ready: test.ready}})
		if diff := cmp.Diff(test.want, ask(t, addr, test.path)); diff != "" {
			t.Errorf("%d ready, healthy %v (-want +got)\n%s", test.ready, test.healthy, diff)
		}
	}
}

func TestThePortClosesWithTheService(t *testing.T) {
	r, addr := start(t), freePort(t)
	check := []ruleset.HealthCheck{{Listen: addr, Service: "demo/web", Ready: 1}}
	for range 2 {
		r.Update(check)
		if got := ask(t, addr, "/"); got == "no answer" {
			t.Error("no answer while the Service is there")
		}
		r.Update(nil)
		if got := ask(t, addr, "/"); got != "no answer" {
			t.Errorf("answer %s although the Service is gone", got)
		}
	}
}

func TestAPortThatIsTakenIsTriedAgain(t *testing.T) {
	r, addr := start(t), freePort(t)
	taken, err := net.Listen("tcp4", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	r.Update([]ruleset.HealthCheck{{Listen: addr, Service: "demo/web", Ready: 1}})
	r.Server.mu.Lock()
	if len(r.failed) != 1 || len(r.listening) != 0 {
		t.Errorf("failed %v, listening %v", r.failed, r.listening)
	}
	r.Server.mu.Unlock()
	// Said once, however often it is tried.
	r.Update([]ruleset.HealthCheck{{Listen: addr, Service: "demo/web", Ready: 1}})
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(4 * retryPeriod); ask(t, addr, "/") == "no answer"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not tried again")
		}
	}
	want := []string{fmt.Sprintf("KIND_SERVICE demo/web FailedToStartServiceHealthcheck: cannot listen on health-check node port %d: listen tcp4 %s: bind: address already in use", addr.Port(), addr), "well"}
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.warned); diff != "" {
		t.Errorf("warnings (-want +got)\n%s", diff)
	}
}

func TestAWarningGoesWithItsService(t *testing.T) {
	r, addr := start(t), freePort(t)
	taken, err := net.Listen("tcp4", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	r.Update([]ruleset.HealthCheck{{Listen: addr, Service: "demo/web", Ready: 1}})
	r.Update([]ruleset.HealthCheck{{Listen: addr, Service: "demo/other", Ready: 1}})
	r.Update(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.warned) != 3 || !strings.Contains(r.warned[1], "demo/other") || r.warned[2] != "well" {
		t.Errorf("warned %q", r.warned)
	}
}

func TestNothingListensAfterTheEnd(t *testing.T) {
	s, addr := New(hclog.NewNullLogger(), func() bool { return true }, nil), freePort(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	s.Update([]ruleset.HealthCheck{{Service: "demo/web", Listen: addr, Ready: 1}})
	if got := ask(t, addr, "/"); got != "no answer" {
		t.Errorf("answers %s", got)
	}
}
