package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/portolan-net/portolan/agent/internal/reconcile"
	"github.com/portolan-net/portolan/api/subscribe"
)

func newMetrics() *Metrics {
	return New(func() subscribe.Status { return subscribe.Status{Connected: true, Revision: 7} }, "test", time.Now)
}

func get(t *testing.T, handler http.Handler, path string) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(recorder.Body)
	if err != nil {
		t.Fatal(err)
	}
	return recorder.Code, string(body)
}

func TestANodeIsUnhealthyOnlyWhenAChangeHasWaitedTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMetrics()
		expect := func(when string, code int) {
			t.Helper()
			for _, path := range []string{"/healthz", "/livez"} {
				got, body := get(t, m.HealthHandler(), path)
				var answer health
				if err := json.Unmarshal([]byte(body), &answer); err != nil || got != code || answer.Healthy != (code == http.StatusOK) {
					t.Errorf("%s: %s answers %d %s, want %d", when, path, got, body, code)
				}
			}
		}
		expect("before anything", http.StatusOK)
		m.Queued()
		m.Applied(reconcile.Attempt{Err: errors.New("no")})
		time.Sleep(staleAfter - time.Second)
		expect("with a change that waits", http.StatusOK)
		time.Sleep(2 * time.Second)
		expect("with a change that waits for long", http.StatusServiceUnavailable)
		m.Applied(reconcile.Attempt{Duration: time.Millisecond})
		expect("after it was applied", http.StatusOK)
	})
}

func TestANodeThatGoesAwayIsNotHealthyButAlive(t *testing.T) {
	m := newMetrics()
	m.Eligible("the Node is being deleted")
	if code, body := get(t, m.HealthHandler(), "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `"nodeEligible":false`) {
		t.Errorf("/healthz answers %d %s", code, body)
	}
	if code, _ := get(t, m.HealthHandler(), "/livez"); code != http.StatusOK {
		t.Errorf("/livez answers %d", code)
	}
	m.Eligible("")
	if code, _ := get(t, m.HealthHandler(), "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz answers %d once the node may be used again", code)
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	m := newMetrics()
	m.Applied(reconcile.Attempt{Whole: true, Repair: true, Duration: time.Millisecond})
	m.Checkpointed(1, nil)
	m.Checkpointed(0, errors.New("disk full"))
	problems, err := testutil.GatherAndLint(m.Registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
	_, body := get(t, m.MetricsHandler("nftables"), "/metrics")
	for _, want := range []string{"portolan_agent_connected 1", "portolan_agent_revision 7",
		`portolan_agent_checkpoints_total{result="error"} 1`, "portolan_agent_repairs_total 1", `portolan_agent_apply_duration_seconds_count{scope="whole"} 1`} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	if code, body := get(t, m.MetricsHandler("nftables"), "/proxyMode"); code != http.StatusOK || body != "nftables" {
		t.Errorf("/proxyMode answers %d %q", code, body)
	}
}

func TestServeSaysWhichAddressIsTaken(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	address := strings.TrimPrefix(taken.URL, "http://")
	if err := Serve(context.Background(), address, http.NotFoundHandler()); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("error %v, want one that names %s", err, address)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Serve(ctx, "", nil); err != nil {
		t.Errorf("no address: %v", err)
	}
}
