package admission

import (
	"container/heap"
	"net/netip"
	"slices"

	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
)

// service is what is known of a Service.
type service struct {
	key model.Key
	// value is the last good state; nil if there is none.
	value *model.Service
	// fields tell where in the object its outside addresses are.
	fields objects.Fields
	// problems are those of the object itself.
	problems []model.Problem
	// admitted tells whether value is in force.
	admitted bool
	// held are the ClusterIPs that the Service had when the last batch ended. They
	// decide between Services of the same age, so they stay while a batch does.
	held []netip.Addr
	// queued and dirty mark the Service in the current batch.
	queued, dirty bool
}

// precedes orders the claims to a ClusterIP: the older first; of the same age the
// one that has what it claims, then the one that has a part of it, then the first
// by name.
func (s *service) precedes(o *service) int {
	if c := s.value.Created.Compare(o.value.Created); c != 0 {
		return c
	}
	if c := s.tenure() - o.tenure(); c != 0 {
		return c
	}
	return s.key.Compare(o.key)
}

// tenure is 0 if the Service held all that it claims, 1 if a part, 2 if nothing.
func (s *service) tenure() int {
	has := func(addr netip.Addr) bool { return slices.Contains(s.held, addr) }
	lacks := func(addr netip.Addr) bool { return !has(addr) }
	switch {
	case !slices.ContainsFunc(s.value.ClusterIPs, lacks):
		return 0
	case slices.ContainsFunc(s.value.ClusterIPs, has):
		return 1
	default:
		return 2
	}
}

// holds returns the ClusterIPs that the Service has now.
func (s *service) holds() []netip.Addr {
	if !s.admitted {
		return nil
	}
	return s.value.ClusterIPs
}

// claims knows which Services claim which ClusterIP.
type claims map[netip.Addr][]*service

// add enters a Service's claims, which stay in order of precedence.
func (c claims) add(s *service) {
	for _, addr := range s.value.ClusterIPs {
		at, _ := slices.BinarySearchFunc(c[addr], s, (*service).precedes)
		c[addr] = slices.Insert(c[addr], at, s)
	}
}

// remove withdraws a Service's claims.
func (c claims) remove(s *service) {
	for _, addr := range s.value.ClusterIPs {
		c[addr] = slices.DeleteFunc(c[addr], func(o *service) bool { return o == s })
		if len(c[addr]) == 0 {
			delete(c, addr)
		}
	}
}

// holder returns the Service in force that has the ClusterIP, or nil.
func (c claims) holder(addr netip.Addr) *service {
	for _, s := range c[addr] {
		if s.admitted {
			return s
		}
	}
	return nil
}

// conflict returns a ClusterIP of s that a Service before it holds, and that
// Service; or nil.
func (c claims) conflict(s *service) (netip.Addr, *service) {
	for _, addr := range s.value.ClusterIPs {
		for _, o := range c[addr] {
			if o == s {
				break
			}
			if o.admitted {
				return addr, o
			}
		}
	}
	return netip.Addr{}, nil
}

// queue holds Services to decide on, in order of precedence. A decision depends
// only on those before it, so that taking them in order decides each once.
type queue []*service

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].precedes(q[j]) < 0 }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(s any)        { *q = append(*q, s.(*service)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// enqueue asks for a decision on s.
func (b *Batch) enqueue(s *service) {
	if s.value != nil && !s.queued {
		s.queued = true
		b.ask = append(b.ask, s)
	}
}

// enqueueClaimants asks for a decision on everybody who claims the address.
func (b *Batch) enqueueClaimants(addr netip.Addr) {
	for _, s := range b.w.claims[addr] {
		b.enqueue(s)
	}
}

// decide admits or rejects every Service whose case may have changed. The queue
// is built here and not in Set, since a Service's precedence may change until
// the batch is complete.
func (b *Batch) decide() {
	q := make(queue, 0, len(b.ask))
	for _, s := range b.ask {
		if s.value != nil {
			q = append(q, s)
		}
		s.queued = s.value != nil
	}
	heap.Init(&q)
	for q.Len() > 0 {
		s := heap.Pop(&q).(*service)
		s.queued = false
		b.markService(s)
		_, other := b.w.claims.conflict(s)
		if admitted := other == nil; admitted != s.admitted {
			s.admitted = admitted
			b.touch(s)
			b.pushLater(&q, s)
		}
	}
	b.remember()
}

// remember makes what Services hold now what they held, for the next batch. Claims
// are in order of what was held, so those that change leave before any comes back.
func (b *Batch) remember() {
	var changed []*service
	for _, s := range b.services {
		if !slices.Equal(s.held, s.holds()) {
			changed = append(changed, s)
		}
	}
	for _, s := range changed {
		if s.value != nil {
			b.w.claims.remove(s)
		}
	}
	for _, s := range changed {
		s.held = s.holds()
	}
	for _, s := range changed {
		if s.value != nil {
			b.w.claims.add(s)
		}
	}
}

// pushLater asks again those whom s stands, or stood, in the way of.
func (b *Batch) pushLater(q *queue, s *service) {
	for _, addr := range s.value.ClusterIPs {
		for _, o := range b.w.claims[addr] {
			if !o.queued && s.precedes(o) < 0 {
				o.queued = true
				heap.Push(q, o)
			}
		}
	}
}

// touch notes that the holders of a Service's ClusterIPs may have changed.
func (b *Batch) touch(s *service) {
	for _, addr := range s.value.ClusterIPs {
		b.touched[addr] = struct{}{}
	}
}
