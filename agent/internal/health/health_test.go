package health

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/state"
)

// rig asks a tracker in fake time, which starts at midnight.
type rig struct {
	*testing.T
	tracker *Tracker
	counted []string
}

func start(t *testing.T, story func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		story(&rig{T: t, tracker: New(func() time.Time { return time.Now().UTC() })})
	})
}

func (r *rig) ask(path string) (int, string) {
	recorder := httptest.NewRecorder()
	handler := r.tracker.Handler(func(probe Probe, code int) { r.counted = append(r.counted, string(probe)+" "+strconv.Itoa(code)) })
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	return recorder.Code, recorder.Body.String()
}

func (r *rig) expect(when string, code int) {
	r.Helper()
	for _, path := range []string{"/healthz", "/livez"} {
		if got, body := r.ask(path); got != code {
			r.Errorf("%s: %s answers %d %s, want %d", when, path, got, body, code)
		}
	}
}

func (r *rig) expectBody(path, want string) {
	r.Helper()
	if _, body := r.ask(path); body != want {
		r.Errorf("%s answers\n%s\nwant\n%s", path, body, want)
	}
}

func (r *rig) applied(err error, families ...dataplane.Family) {
	for _, family := range families {
		r.tracker.Applied(family, err)
	}
}

var errKernel = errors.New("the kernel says no")

// TestAnswersAreThoseOfKubeProxy byte for byte.
func TestAnswersAreThoseOfKubeProxy(t *testing.T) {
	start(t, func(r *rig) {
		r.expectBody("/livez", `{"lastUpdated":"2000-01-01T00:00:00Z","currentTime":"2000-01-01T00:00:00Z","healthy":true,`+
			`"status":{"IPv4":{"lastUpdated":"2000-01-01T00:00:00Z","healthy":true},"IPv6":{"lastUpdated":"2000-01-01T00:00:00Z","healthy":true}}}`)
		time.Sleep(time.Second)
		r.tracker.Queued()
		r.applied(nil, dataplane.IPv4)
		time.Sleep(time.Minute)
		r.expectBody("/healthz", `{"lastUpdated":"2000-01-01T00:00:01Z","currentTime":"2000-01-01T00:01:01Z","nodeEligible":true,"healthy":false,`+
			`"status":{"IPv4":{"lastUpdated":"2000-01-01T00:00:01Z","healthy":true},"IPv6":{"lastUpdated":"2000-01-01T00:00:00Z","healthy":false}}}`)
	})
}

func TestANodeIsUnhealthyOnlyWhenAChangeHasWaitedTooLong(t *testing.T) {
	start(t, func(r *rig) {
		time.Sleep(24 * time.Hour)
		r.expect("with nothing to do for a day", http.StatusOK)
		r.tracker.Queued()
		time.Sleep(50 * time.Second)
		r.tracker.Queued()
		r.applied(errKernel, dataplane.IPv4, dataplane.IPv6)
		time.Sleep(10*time.Second - 1)
		r.expect("shortly before the oldest change has waited for two sync periods", http.StatusOK)
		time.Sleep(time.Nanosecond)
		r.expect("when it has", http.StatusServiceUnavailable)
		r.applied(nil, dataplane.IPv4)
		r.expect("with one family applied", http.StatusServiceUnavailable)
		r.applied(nil, dataplane.IPv6)
		r.expect("with both applied", http.StatusOK)
		time.Sleep(24 * time.Hour)
		r.expect("a day later", http.StatusOK)
	})
}

func TestAFailureAloneIsAChangeThatWaits(t *testing.T) {
	start(t, func(r *rig) {
		r.applied(errKernel, dataplane.IPv6)
		time.Sleep(time.Minute)
		r.expect("after a repair that failed", http.StatusServiceUnavailable)
	})
}

func TestTheNodesSyncPeriodDecidesHowLongIsTooLong(t *testing.T) {
	start(t, func(r *rig) {
		r.tracker.Queued()
		time.Sleep(20 * time.Second)
		r.tracker.Configured(&state.NodeConfig{SyncPeriod: 10 * time.Second})
		r.expect("with a period of 10 s", http.StatusServiceUnavailable)
		r.tracker.Configured(&state.NodeConfig{SyncPeriod: time.Minute})
		time.Sleep(time.Minute)
		r.expect("with a period of a minute", http.StatusOK)
		r.tracker.Configured(&state.NodeConfig{})
		r.expect("with none said, the last one holds", http.StatusOK)
	})
}

func TestANodeThatGoesAwayIsNotHealthyButAlive(t *testing.T) {
	start(t, func(r *rig) {
		for name, config := range map[string]*state.NodeConfig{"gone": nil, "going": {Ineligible: "the Node is being deleted"}} {
			r.tracker.Configured(config)
			if code, body := r.ask("/healthz"); code != http.StatusServiceUnavailable || !healthyBut(body) {
				t.Errorf("%s: /healthz answers %d %s", name, code, body)
			}
			if code, body := r.ask("/livez"); code != http.StatusOK || nodeEligible(body) != nil {
				t.Errorf("%s: /livez answers %d %s", name, code, body)
			}
		}
		r.tracker.Configured(&state.NodeConfig{})
		r.expect("once the node may be used again", http.StatusOK)
	})
}

// healthyBut tells whether a body says that the rules are well and the Node is not.
func healthyBut(body string) bool {
	var answer report
	eligible := nodeEligible(body)
	return json.Unmarshal([]byte(body), &answer) == nil && answer.Healthy && eligible != nil && !*eligible
}

func nodeEligible(body string) *bool {
	var answer report
	_ = json.Unmarshal([]byte(body), &answer)
	return answer.NodeEligible
}

func TestWhileHealthyTheLastUpdateIsNow(t *testing.T) {
	start(t, func(r *rig) {
		updated := func(path string) time.Time {
			var answer report
			_, body := r.ask(path)
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
			return answer.LastUpdated
		}
		begun := time.Now()
		time.Sleep(time.Hour)
		for _, path := range []string{"/healthz", "/livez"} {
			if got := updated(path); !got.Equal(time.Now()) {
				t.Errorf("%s was last updated at %s, want now, %s", path, got, time.Now())
			}
		}
		r.tracker.Configured(nil)
		if got := updated("/healthz"); !got.Equal(begun) {
			t.Errorf("with the Node gone, /healthz was last updated at %s, want when the rules were, %s", got, begun)
		}
	})
}

func TestEveryAnswerIsCounted(t *testing.T) {
	start(t, func(r *rig) {
		r.expect("at first", http.StatusOK)
		r.tracker.Configured(nil)
		r.ask("/healthz")
		if want := []string{"healthz 200", "livez 200", "healthz 503"}; !slices.Equal(r.counted, want) {
			t.Errorf("counted %v, want %v", r.counted, want)
		}
	})
}

func TestOnlyQuestionsAreAnswered(t *testing.T) {
	recorder := httptest.NewRecorder()
	New(time.Now).Handler(func(Probe, int) { t.Error("counted") }).ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/healthz", nil))
	if recorder.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered with %d", recorder.Code)
	}
}

// TestAFamilyThatTheNodeLacksIsNotSpokenOf is S112: a node without IPv6 is a single-stack
// one, until it gets IPv6.
func TestAFamilyThatTheNodeLacksIsNotSpokenOf(t *testing.T) {
	start(t, func(r *rig) {
		r.tracker.Missing(dataplane.IPv6)
		r.tracker.Queued()
		r.applied(nil, dataplane.IPv4)
		time.Sleep(time.Hour)
		r.expect("although a change for IPv6 would have waited for an hour", http.StatusOK)
		if _, body := r.ask("/healthz"); strings.Contains(body, "IPv6") {
			t.Errorf("/healthz answers %s", body)
		}
		r.applied(errors.New("no"), dataplane.IPv6)
		time.Sleep(time.Hour)
		r.expect("once it has the family, and that fails", http.StatusServiceUnavailable)
	})
}
