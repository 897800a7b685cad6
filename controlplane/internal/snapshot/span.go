package snapshot

import (
	"cmp"
	"slices"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// Step is how one resource changes: From is nil if it is new, To if it is removed.
type Step struct {
	From, To *Entry
}

// Name returns the resource's name.
func (s Step) Name() resource.Name {
	if s.To != nil {
		return s.To.Name
	}
	return s.From.Name
}

// Way leads from one view to a later one of the same node, in two parts. Span is the part
// that the node has in common with others. Own has the steps of what is the node's alone.
type Way struct {
	Span Span
	Own  []Step
}

// Span leads from one snapshot to a later one, for all nodes that are in a zone or move
// from one to another. Two nodes' Spans are equal if they are the same way.
type Span struct {
	from, to         *Snapshot
	fromZone, toZone string
}

// To returns the node's view at a newer snapshot and the way there. ok is false if the log
// no longer reaches back that far.
func (v View) To(newer *Snapshot) (next View, way Way, ok bool) {
	changes, ok := newer.since(v.snapshot)
	if !ok {
		return View{}, Way{}, false
	}
	var names nameSet
	for _, change := range changes {
		names.add(change.nodes[v.node])
	}
	next = View{snapshot: newer, node: v.node, zone: v.zone}
	if names.has(resource.Name{Kind: discoveryv1.Kind_KIND_NODE_CONFIG, Name: v.node}) {
		next = newer.View(v.node)
	}
	way.Span = Span{from: v.snapshot, to: newer, fromZone: v.zone, toZone: next.zone}
	way.Own = names.steps(v.Get, next.Get)
	return next, way, true
}

// Steps returns the steps of a Span, ordered by kind as resource.Kinds says. It costs what
// has changed, and for each node that asks: who serves many asks once.
func (s Span) Steps() []Step {
	changes, _ := s.to.since(s.from)
	var names nameSet
	for _, change := range changes {
		names.add(change.shared)
		names.add(change.zones[s.toZone])
	}
	if s.fromZone != s.toZone {
		names.add(s.from.variants(s.fromZone))
		names.add(s.to.variants(s.toZone))
	}
	return names.steps(
		func(name resource.Name) *Entry { return s.from.inZone(s.fromZone, name) },
		func(name resource.Name) *Entry { return s.to.inZone(s.toZone, name) })
}

// Steps returns all steps, ordered by kind as resource.Kinds says.
func (w Way) Steps() []Step {
	return append(slices.Clone(w.Own), w.Span.Steps()...)
}

// nameSet has names that may have changed, each once.
type nameSet struct {
	seen map[resource.Name]struct{}
}

func (n *nameSet) add(list []resource.Name) {
	if n.seen == nil && len(list) > 0 {
		n.seen = make(map[resource.Name]struct{}, len(list))
	}
	for _, name := range list {
		n.seen[name] = struct{}{}
	}
}

func (n *nameSet) has(name resource.Name) bool {
	_, has := n.seen[name]
	return has
}

// steps returns how those names differ between before and after.
func (n *nameSet) steps(before, after func(resource.Name) *Entry) []Step {
	var steps []Step
	for name := range n.seen {
		step := Step{From: before(name), To: after(name)}
		if version(step.From) != version(step.To) {
			steps = append(steps, step)
		}
	}
	slices.SortFunc(steps, func(a, b Step) int {
		return cmp.Compare(slices.Index(resource.Kinds, a.Name().Kind), slices.Index(resource.Kinds, b.Name().Kind))
	})
	return steps
}
