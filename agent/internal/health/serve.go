package health

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// report is the body of an answer. Names, order and meaning are kube-proxy's.
type report struct {
	LastUpdated  time.Time                         `json:"lastUpdated"`
	CurrentTime  time.Time                         `json:"currentTime"`
	NodeEligible *bool                             `json:"nodeEligible,omitempty"`
	Healthy      bool                              `json:"healthy"`
	Status       map[dataplane.Family]familyReport `json:"status,omitempty"`

	eligible bool
}

type familyReport struct {
	LastUpdated time.Time `json:"lastUpdated"`
	Healthy     bool      `json:"healthy"`
}

func (t *Tracker) report() report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := report{CurrentTime: t.now(), Healthy: true, Status: map[dataplane.Family]familyReport{}, eligible: t.eligible}
	for family, p := range t.families {
		healthy := p.queued.IsZero() || r.CurrentTime.Sub(p.queued) < patience*t.syncPeriod
		r.Status[family] = familyReport{LastUpdated: p.updated, Healthy: healthy}
		r.Healthy = r.Healthy && healthy
		if p.updated.After(r.LastUpdated) {
			r.LastUpdated = p.updated
		}
	}
	return r
}

// Probe is what was asked.
type Probe string

// The probes. Livez is for whoever may restart the agent, which helps nothing
// against a Node that goes away.
const (
	Healthz Probe = "healthz"
	Livez   Probe = "livez"
)

// Handler serves /healthz, which also fails while load balancers should not send
// to this node (KEP-3836), and /livez, which does not. Every answer is counted.
func (t *Tracker) Handler(count func(probe Probe, code int)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		r := t.report()
		r.NodeEligible = &r.eligible
		count(Healthz, r.write(w, r.Healthy && r.eligible))
	})
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		r := t.report()
		count(Livez, r.write(w, r.Healthy))
	})
	return mux
}

// write answers and returns the status code. As in kube-proxy, an answer that all is
// well was last updated now: cloud providers have come to look at the time.
func (r *report) write(w http.ResponseWriter, ok bool) int {
	code := http.StatusServiceUnavailable
	if ok {
		code, r.LastUpdated = http.StatusOK, r.CurrentTime
	}
	body, err := json.Marshal(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(body)
	return code
}
