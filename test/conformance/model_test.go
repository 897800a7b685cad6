package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/portolan-net/portolan/controlplane/reference"
	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
)

// decide asks the reference model what must become of a probe.
func (w *world) decide(step *scenario.Step, p scenario.Probe) (reference.Outcome, error) {
	source, _, err := w.source(p)
	if err != nil {
		return reference.Outcome{}, err
	}
	packet := reference.Packet{
		Source: source, From: reference.Origin(p.From),
		Protocol: corev1.Protocol(strings.ToUpper(p.Protocol)), Destination: p.Destination,
	}
	switch p.From {
	case "pod":
		packet.Interface = lab.Bridge
	case "outside":
		packet.Interface = "eth0"
	}
	here := reference.Node{Name: node, LocalAddresses: w.LocalAddresses}
	return reference.Decide(step.Cluster, step.Config, here, packet), nil
}

// source is the address that a probe's packets come from, and where they start.
func (w *world) source(p scenario.Probe) (netip.Addr, *lab.Place, error) {
	name := p.Source
	if p.From == "host" {
		name = "host"
	}
	place, err := w.Find(name)
	if err != nil {
		return netip.Addr{}, nil, err
	}
	if address, err := netip.ParseAddr(p.Source); err == nil {
		return address, place, nil
	}
	return place.Of(p.Destination.Addr()), place, nil
}

// againstModel compares what a scenario expects with the reference model.
func (w *world) againstModel(step *scenario.Step, p scenario.Probe) []string {
	o, err := w.decide(step, p)
	if err != nil {
		return []string{err.Error()}
	}
	got := w.describe(p, o)
	if want := describeExpected(p); got != want {
		return []string{fmt.Sprintf("the reference model says: %s", got)}
	}
	return nil
}

func describeExpected(p scenario.Probe) string {
	if p.Verdict != scenario.Accepted {
		return string(p.Verdict)
	}
	text := strings.Join(backendNames(p.Backends), " ")
	if p.Sticky {
		text += " sticky"
	}
	return text
}

func (w *world) describe(p scenario.Probe, o reference.Outcome) string {
	switch {
	case !o.Handled:
		return string(scenario.Untouched)
	case o.Verdict == reference.Reject:
		return string(scenario.Refused)
	case o.Verdict == reference.Drop:
		return string(scenario.Dropped)
	}
	source, _, _ := w.source(p)
	var names []string
	for _, b := range o.Backends {
		name := fmt.Sprintf("%s:%d", w.NameOf(b.Addr()), b.Port())
		if o.Masquerade == reference.Masqueraded || o.Masquerade == reference.HairpinOnly && b.Addr() == source {
			name += "*"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if o.Sticky > 0 {
		names = append(names, "sticky")
	}
	return strings.Join(names, " ")
}
