package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/portolan-net/portolan/api/address"
	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
	"github.com/portolan-net/portolan/test/conformance/internal/talk"
)

const node = "node-a"

// labs is how many scenarios run at a time. They mostly wait for what must be silent.
const labs = 3

// world is a lab and the servers that listen in it.
type world struct {
	*lab.Lab
	listening map[string]bool
	proxy     proxy
}

// proxy is what makes the node under test a node.
type proxy interface {
	// enforce returns once the kernel holds what a step asks for.
	enforce(t *testing.T, step *scenario.Step)
}

// pool lends worlds to one scenario after the other, as they are: what one scenario
// leaves in the kernel is what the next one begins with.
type pool func() (chan *world, error)

func newPool(proxyOf func(*lab.Lab) (proxy, error)) pool {
	return sync.OnceValues(func() (chan *world, error) {
		free := make(chan *world, labs)
		for range labs {
			l, err := lab.New()
			if err != nil {
				return nil, err
			}
			p, err := proxyOf(l)
			if err != nil {
				return nil, err
			}
			free <- &world{Lab: l, listening: map[string]bool{}, proxy: p}
		}
		return free, nil
	})
}

// lend runs a test in a world.
func (p pool) lend(t *testing.T, test func(*world)) {
	t.Helper()
	free, err := p()
	if err != nil {
		t.Fatal(err)
	}
	w := <-free
	defer func() { free <- w }()
	test(w)
}

func loadScenarios(t *testing.T) []*scenario.Scenario {
	t.Helper()
	all, err := scenario.Load("scenarios")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestConformance programs the node anew for each step, by portolan apply: what counts
// is where a step leads, and that nobody who may go on notices the way.
func TestConformance(t *testing.T) { runAll(t, onceWorlds) }

// TestConformanceLive changes a running cluster, one step after the other: a control
// plane follows a directory of manifests, and an agent the control plane.
func TestConformanceLive(t *testing.T) { runAll(t, liveWorlds) }

func runAll(t *testing.T, worlds pool) {
	for _, s := range loadScenarios(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			worlds.lend(t, func(w *world) { w.tell(t, s) })
		})
	}
}

// tell goes through the steps of a scenario.
func (w *world) tell(t *testing.T, s *scenario.Scenario) {
	var before *scenario.Step
	for i := range s.Steps {
		step := &s.Steps[i]
		undo, err := w.Own(step.Addresses...)
		if err != nil {
			t.Fatal(err)
		}
		w.enter(t, before, step)
		w.probe(t, s, step)
		if _, lives := w.proxy.(*live); lives {
			w.ask(t, s, step)
		}
		if err := undo(); err != nil {
			t.Fatal(err)
		}
		before = step
	}
}

// enter puts a step's state in force, under the eyes of those who must not notice.
func (w *world) enter(t *testing.T, before, step *scenario.Step) {
	if err := w.serve(step); err != nil {
		t.Fatal(err)
	}
	witnesses := w.watch(t, before, step)
	w.proxy.enforce(t, step)
	witnesses.inForce()
	for _, failure := range witnesses.finish() {
		if nature, differs := differsOnTheWay(failure); differs {
			t.Logf("differs in %s mode: %s\n%s", mode, nature, failure)
			continue
		}
		t.Errorf("on the way to step %d: %s", step.Number, failure)
	}
}

// serve starts servers for all endpoints that live in the lab, usable or not.
func (w *world) serve(step *scenario.Step) error {
	for _, slice := range step.Cluster.Slices {
		for _, port := range slice.Ports {
			for _, endpoint := range slice.Endpoints {
				if port.Port == nil || port.Protocol == nil || len(endpoint.Addresses) == 0 {
					continue
				}
				addr, err := address.Parse(endpoint.Addresses[0])
				if err != nil {
					continue
				}
				place, err := w.Find(addr.String())
				if err != nil {
					continue
				}
				at := netip.AddrPortFrom(addr, uint16(*port.Port))
				protocol := strings.ToLower(string(*port.Protocol))
				if key := protocol + " " + at.String(); !w.listening[key] {
					if err := place.In.Do(func() error { return talk.Serve(protocol, at) }); err != nil {
						return fmt.Errorf("a server of %s: %w", place.Name, err)
					}
					w.listening[key] = true
				}
			}
		}
	}
	return nil
}

// probe sends the packets of a step and compares what became of them.
func (w *world) probe(t *testing.T, s *scenario.Scenario, step *scenario.Step) {
	outcomes := make([]outcome, len(step.Probes))
	var running sync.WaitGroup
	for i, p := range step.Probes {
		running.Go(func() { outcomes[i] = w.send(p) })
	}
	running.Wait()
	sightings, err := w.Sightings()
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range step.Probes {
		t.Run(probeName(s, step, p.Rules, p.Text), func(t *testing.T) {
			complaints := append(w.againstModel(step, p), w.againstPackets(p, outcomes[i], sightings)...)
			reason, known := knownFailures[s.Name+": "+p.Text]
			nature, differs := differences()[fmt.Sprintf("%s %d: %s", s.Name, step.Number, p.Text)]
			switch {
			case differs && len(complaints) == 0:
				t.Errorf("it differs in %s mode (%s), and does not: strike it from the list", mode, nature)
			case differs:
				t.Logf("differs in %s mode: %s\n%s", mode, nature, strings.Join(complaints, "\n"))
			case known && len(complaints) == 0:
				t.Errorf("it was known to fail (%s), and does not: strike it from the list", reason)
			case known:
				t.Skipf("known to fail: %s\n%s", reason, strings.Join(complaints, "\n"))
			case len(complaints) > 0:
				t.Errorf("%s\n%s", p.Text, strings.Join(complaints, "\n"))
			}
		})
	}
}

// probeName is "S1,S2/pod pc1 -> …", with the step if there are several.
func probeName(s *scenario.Scenario, step *scenario.Step, names []string, text string) string {
	rules := strings.Join(names, ",")
	text = strings.TrimSpace(strings.TrimPrefix(text, rules))
	if len(s.Steps) > 1 {
		text = fmt.Sprintf("step %d: %s", step.Number, text)
	}
	return rules + "/" + strings.ReplaceAll(text, "/", "|")
}

// backendNames are a probe's backends as sorted texts.
func backendNames(backends []scenario.Backend) []string {
	var names []string
	for _, b := range backends {
		name := b.Name
		if b.Masquerade {
			name += "*"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
