package discovery

import (
	"fmt"
	"math/rand/v2"
	"testing/synctest"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// step is one event of a history, in words and in deed.
type step struct {
	text string
	do   func(*simulation)
	// wait is until the next.
	wait time.Duration
}

// planner draws the steps of a history. All choices are made before it runs, so that
// the seed alone says what happens.
type planner struct {
	*rand.Rand
	setup setup
	steps []step
	zones map[int]string
}

// plan returns the steps of a seed.
func plan(s setup) []step {
	p := &planner{Rand: rand.New(rand.NewPCG(s.seed, 1)), setup: s, zones: map[int]string{}}
	for range s.steps {
		p.next()
	}
	return p.steps
}

func (p *planner) add(do func(*simulation), format string, args ...any) {
	var wait time.Duration
	switch {
	case p.chance(10):
		wait = time.Duration(p.Int64N(int64(20 * time.Second)))
	case p.chance(70):
		wait = time.Duration(p.Int64N(int64(300 * time.Millisecond)))
	}
	p.steps = append(p.steps, step{fmt.Sprintf(format, args...), do, wait})
}

func (p *planner) chance(percent int) bool { return p.IntN(100) < percent }

// next draws one event. Edits are the most frequent.
func (p *planner) next() {
	f, s := p.IntN(p.setup.followers), p.IntN(replicas)
	switch n := p.IntN(100); {
	case n < 35:
		p.edit()
	case n < 45:
		p.move(f)
	case n < 55:
		p.catchUp(s)
	case n < 63:
		p.add(func(s *simulation) { s.followers[f].snap() }, "n%d loses its connection", f)
	case n < 72:
		bytes := p.IntN(3000)
		p.add(func(s *simulation) { s.followers[f].cutAfter(bytes) }, "n%d loses its connection after %d more bytes", f, bytes)
	case n < 77:
		p.add(func(s *simulation) { s.followers[f].restart(true, 0) }, "n%d's agent crashes and has lost its state", f)
	case n < 83:
		age := p.IntN(5)
		p.add(func(s *simulation) { s.followers[f].restart(false, age) }, "n%d's agent crashes and starts from a checkpoint %d transactions old", f, age)
	case n < 87:
		p.add(func(sim *simulation) { sim.restart(sim.sites[s]) }, "%s restarts", addressOf(s))
		if p.chance(70) {
			p.catchUp(s)
		}
	case n < 94:
		p.partition(f, s)
	default:
		p.refuse(f)
	}
}

// edit changes everything of one owner; some replicas see it at once.
func (p *planner) edit() {
	owner := fmt.Sprintf("o%d", p.IntN(4))
	most := 12
	if p.chance(10) {
		most = 4 * maxSmall
	}
	var list []snapshot.Scoped
	for i := range p.IntN(most) {
		name, port := fmt.Sprintf("%s/%d", owner, i), uint32(1+p.IntN(3))
		if p.chance(30) {
			continue
		}
		list = append(list, service(name, port))
		for _, zone := range []string{"", "z1", "z2"} {
			if p.chance(40) {
				list = append(list, endpointSet(zone, name, uint32(1+p.IntN(3))))
			}
		}
		if p.chance(10) {
			list = append(list, localEndpoints(fmt.Sprintf("n%d", p.IntN(p.setup.followers)), name, port))
		}
	}
	p.publish(owner, list, fmt.Sprintf("%s has %d resources", owner, len(list)))
}

// move puts a node into another zone, or takes its NodeConfig away.
func (p *planner) move(f int) {
	node := fmt.Sprintf("n%d", f)
	if p.chance(20) {
		p.publish(node, nil, node+" has no NodeConfig")
		return
	}
	zone := []string{"", "z1", "z2"}[p.IntN(3)]
	p.publish(node, []snapshot.Scoped{nodeConfig(node, zone)}, fmt.Sprintf("%s is in zone %q", node, zone))
}

func (p *planner) publish(owner string, list []snapshot.Scoped, text string) {
	var seen []int
	for s := range replicas {
		if p.chance(65) {
			seen = append(seen, s)
		}
	}
	p.add(func(sim *simulation) {
		sim.world.edits = append(sim.world.edits, edit{owner, list})
		for _, s := range seen {
			sim.sites[s].see(sim.t, &sim.world, len(sim.world.edits), true)
		}
	}, "%s; seen by replicas %v", text, seen)
}

func (p *planner) catchUp(s int) {
	edits, together := p.IntN(5), p.chance(50)
	p.add(func(sim *simulation) { sim.sites[s].see(sim.t, &sim.world, edits, together) },
		"%s sees %d more edits (in one commit: %v)", addressOf(s), edits, together)
}

// partition cuts one node off from the replica that it is connected to, or from any, or
// every node from one.
func (p *planner) partition(f, s int) {
	d := time.Duration(p.Int64N(int64(40 * time.Second))).Round(time.Millisecond)
	switch n := p.IntN(100); {
	case n < 60:
		p.add(func(sim *simulation) {
			if at := sim.followers[f].at(); at != nil {
				sim.followers[f].cutOff(at, d)
			}
		}, "n%d is cut off from its replica for %s", f, d)
	case n < 75:
		p.add(func(sim *simulation) { sim.followers[f].cutOff(sim.sites[s], d) }, "n%d is cut off from %s for %s", f, addressOf(s), d)
	default:
		p.add(func(sim *simulation) {
			for _, f := range sim.followers {
				f.cutOff(sim.sites[s], d)
			}
		}, "every node is cut off from %s for %s", addressOf(s), d)
	}
}

// refuse makes a node reject some names, or accept all again.
func (p *planner) refuse(f int) {
	suffix, text := "", "accepts everything"
	if p.chance(60) {
		suffix = fmt.Sprintf("/%d", p.IntN(6))
		text = "rejects names that end with " + suffix
	}
	p.add(func(sim *simulation) {
		// Between a handler's return and the Ack there is nothing to acknowledge again.
		synctest.Wait()
		sim.followers[f].refuse(suffix)
	}, "n%d %s", f, text)
}
