package e2e_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/e2e/internal/traffic"
)

func (w *world) killControlPlane(t *testing.T) {
	var serving []*replica
	eventually(t, func() error {
		if serving = w.connected(t.Context()); len(serving) != 1 {
			return fmt.Errorf("the agent is connected to %d replicas, want one", len(serving))
		}
		return nil
	})
	w.unharmed(t, func() {
		serving[0].process.Kill()
		check(t, w.objects.SetEndpoints(t.Context(), "web", w.a.IP, w.c.IP))
		w.expectAnswers(t, w.web, w.a, w.c)
	})
	eventually(t, func() error {
		if now := w.connected(t.Context()); len(now) != 1 || now[0] == serving[0] {
			return errors.New("the agent is not connected to the other replica")
		}
		return nil
	})
}

func (w *world) killAgent(t *testing.T) {
	w.unharmed(t, func() {
		w.agent.Kill()
		check(t, w.objects.SetEndpoints(t.Context(), "web", w.a.IP, w.b.IP))
		time.Sleep(time.Second)
		w.startAgent()
		w.expectAnswers(t, w.web, w.a, w.b)
	})
}

func (w *world) stopAPIServer(t *testing.T) { w.unharmed(t, w.server.Stop) }

func (w *world) killEverything(t *testing.T) {
	w.unharmed(t, func() {
		for _, r := range w.replicas {
			r.process.Kill()
		}
		w.agent.Kill()
		time.Sleep(time.Second)
	})
}

// unharmed does something while new connections are made and an old one is in use,
// none of which may fail.
func (w *world) unharmed(t *testing.T, do func()) {
	t.Helper()
	stream := traffic.Start(w.client, w.web, 2*time.Millisecond)
	do()
	check(t, stream.Make(100, time.Minute))
	result := stream.Stop()
	t.Log(result)
	if len(result.Failures) > 0 {
		t.Errorf("%v; want no failure", result)
	}
	if err := w.conversation.Say(); err != nil {
		t.Errorf("the connection from before is broken: %v", err)
	}
}
