package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
	"github.com/portolan-net/portolan/test/conformance/internal/talk"
)

// rebalance is how long a UDP flow may go on to an endpoint that serves no more.
const rebalance = time.Second

// flow is a UDP client that goes on sending from one port while one step follows
// another. It stays with its endpoint for as long as that serves (S117), and comes to
// another at once when it does not (S115), also if at first there was none (S119).
type flow struct {
	probe scenario.Probe
	place *lab.Place
	*talk.Flow
	// first is who answered in the step before, if anybody did.
	first netip.AddrPort
	// finally is who may be chosen in the new step.
	finally []netip.AddrPort
}

// openFlow starts a flow in the step before.
func openFlow(p scenario.Probe, place *lab.Place, call talk.Call, answered bool, finally []netip.AddrPort) (*flow, error) {
	f := &flow{probe: p, place: place, finally: finally}
	err := place.In.Do(func() (err error) {
		if f.Flow, err = talk.OpenFlow(call); err == nil && answered {
			f.first, err = f.Ask(patience)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: a UDP flow: %w", p.Text, err)
	}
	return f, nil
}

// check says what is wrong with a flow once the new step is in force.
func (f *flow) check(after *scenario.Step) error {
	defer f.Close()
	if len(f.finally) == 0 {
		return nil
	}
	stays := f.first.IsValid() && (slices.Contains(f.finally, f.first) || serves(after, f.first))
	deadline := time.Now().Add(rebalance)
	for {
		now, err := f.Ask(rebalance)
		switch {
		case err == nil && stays && now == f.first, err == nil && !stays && slices.Contains(f.finally, now):
			return nil
		case stays && err == nil:
			return fmt.Errorf("a UDP flow to %s, which still serves, came to %s", f.first, now)
		case time.Now().After(deadline):
			return fmt.Errorf("a UDP flow that %s answered is answered by %s after %s (%s): expected one of %v", name(f.first), name(now), rebalance, explain(err), f.finally)
		}
	}
}

func explain(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

func name(backend netip.AddrPort) string {
	if !backend.IsValid() {
		return "nobody"
	}
	return backend.String()
}

// serves tells whether an endpoint still serves the connections that it has: whether
// some slice says so.
func serves(step *scenario.Step, backend netip.AddrPort) bool {
	for _, slice := range step.Cluster.Slices {
		for _, port := range slice.Ports {
			if port.Port == nil || *port.Port != int32(backend.Port()) || port.Protocol == nil || *port.Protocol != corev1.ProtocolUDP {
				continue
			}
			for _, e := range slice.Endpoints {
				serving := e.Conditions.Serving == nil || *e.Conditions.Serving
				if serving && len(e.Addresses) > 0 && e.Addresses[0] == backend.Addr().String() {
					return true
				}
			}
		}
	}
	return false
}
