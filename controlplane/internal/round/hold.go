package round

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// object is what a Service is compiled from; a nil service is one that is gone.
type object struct {
	service *model.Service
	slices  []*model.Slice
	// since is when it was first served.
	since time.Time
}

// hold is the brake, safe for concurrent use.
type hold struct {
	mu    sync.Mutex
	brake *brake.Brake
	// let are the Services that the next round lets go, why says on whose word.
	let []model.Key
	why string
	// released has a value while a round is due for that, came while the brake has
	// come on.
	released, came chan struct{}
}

func newHold(limits brake.Limits) *hold {
	return &hold{brake: brake.New(limits), released: make(chan struct{}, 1), came: make(chan struct{}, 1)}
}

// Held returns the removals of Services that wait.
func (d *Driver) Held() brake.State {
	d.hold.mu.Lock()
	defer d.hold.mu.Unlock()
	return d.hold.brake.State()
}

// Release lets removals go with the next round, which is due at once, and returns
// those of them that waited. why says on whose word.
func (d *Driver) Release(keys []model.Key, why string) []model.Key {
	d.hold.mu.Lock()
	defer d.hold.mu.Unlock()
	let := d.hold.brake.LetGo(keys)
	if len(let) == 0 {
		return nil
	}
	d.hold.let, d.hold.why = append(d.hold.let, let...), why
	signal(d.hold.released)
	return let
}

// Doubt tells whether a node that holds so many Services, or more, must keep them for
// now though only so many are served: what the source delivered at the start may be
// little because the source is blind.
func (d *Driver) Doubt(held, served int) bool {
	d.hold.mu.Lock()
	defer d.hold.mu.Unlock()
	before := d.hold.brake.State().Doubted
	if !d.hold.brake.Doubt(held, served) {
		return false
	}
	d.tellDoubt(before, held, served)
	return true
}

// Trust takes what the source delivered at the start for what there is.
func (d *Driver) Trust(why string) {
	d.hold.mu.Lock()
	defer d.hold.mu.Unlock()
	if d.hold.brake.State().Doubted > 0 {
		d.tellTrust(why)
	}
	d.hold.brake.Trust()
}

func signal(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// objects returns what the round compiles. Each is read once, so that none is gone
// after the brake has looked at it.
func (d *Driver) objects(now time.Time) map[model.Key]object {
	h := d.hold
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.brake.State()
	current := make(map[model.Key]object, len(d.pending.Services))
	for key := range d.pending.Services {
		current[key] = d.read(key)
	}
	let := map[model.Key]bool{}
	for _, key := range append(h.let, h.brake.LetGo(d.replaced(current))...) {
		let[key], current[key] = true, d.read(key)
	}
	why := h.why
	h.let, h.why = nil, ""
	h.brake.Remove(now, d.gone(current, let), len(d.served))
	for key, o := range current {
		if h.brake.Holds(key) {
			current[key] = d.kept(key, o)
		}
	}
	d.tell(before, h.brake.State(), why)
	return current
}

func (d *Driver) read(key model.Key) object {
	service, slices := d.Cluster.Service(key)
	if service != nil {
		d.hold.brake.Back(key)
	}
	return object{service: service, slices: slices}
}

// gone returns the Services that nodes have and the source has no more.
func (d *Driver) gone(current map[model.Key]object, let map[model.Key]bool) []brake.Gone {
	var gone []brake.Gone
	for key, o := range current {
		if last, served := d.served[key]; served && o.service == nil && !let[key] && !d.hold.brake.Holds(key) {
			gone = append(gone, brake.Gone{Key: key, Since: last.since})
		}
	}
	return gone
}

// kept returns what a Service that is held is compiled from: it follows the slices
// that there are, and keeps those that have gone with it.
func (d *Driver) kept(key model.Key, now object) object {
	last := d.served[key]
	kept := object{service: last.service, slices: slices.Clone(now.slices)}
	for _, slice := range last.slices {
		if d.Cluster.Slice(slice.Key) == nil {
			kept.slices = append(kept.slices, slice)
		}
	}
	slices.SortFunc(kept.slices, func(a, b *model.Slice) int { return a.Compare(b.Key) })
	return kept
}

// replaced returns the held Services whose ClusterIP or node port another has now. An
// API server gives them to one Service only, so the one before is really gone.
func (d *Driver) replaced(current map[model.Key]object) []model.Key {
	held := d.hold.brake.State().Held
	if len(held) == 0 {
		return nil
	}
	taken := map[exclusive]bool{}
	for _, o := range current {
		for _, e := range exclusives(o.service) {
			taken[e] = true
		}
	}
	return slices.DeleteFunc(held, func(key model.Key) bool {
		return !slices.ContainsFunc(exclusives(d.served[key].service), func(e exclusive) bool { return taken[e] })
	})
}

// exclusive is what no two Services have at the same time: a ClusterIP or a node port.
type exclusive struct {
	addr     netip.Addr
	protocol model.Protocol
	port     uint16
}

func exclusives(service *model.Service) []exclusive {
	if service == nil {
		return nil
	}
	var list []exclusive
	for _, addr := range service.ClusterIPs {
		list = append(list, exclusive{addr: addr})
	}
	for _, port := range service.Ports {
		if port.NodePort != 0 {
			list = append(list, exclusive{protocol: port.Protocol, port: port.NodePort})
		}
	}
	return list
}
