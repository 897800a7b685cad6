package ipvs

import (
	"context"
	"fmt"
	"slices"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// Compare implements dataplane.Dataplane. What drains is as it should be.
func (p *Plane) Compare(ctx context.Context, settings dataplane.Settings, content dataplane.Content) ([]dataplane.Difference, error) {
	if settings.IPVS = p.inForce; p.inForce == nil {
		return p.nftables.Compare(ctx, settings, content)
	}
	held, bound, err := p.observe()
	if err != nil {
		return nil, err
	}
	var list []dataplane.Difference
	for key, have := range held {
		if p.frontends[key] == nil && len(p.drains[key]) == 0 {
			list = append(list, step{operation: deleteServer, server: have.server}.difference())
		}
	}
	for key, f := range p.frontends {
		for _, s := range plan(held[key], p.want(f), p.busy) {
			if !p.hasDrained(s) {
				list = append(list, s.difference())
			}
		}
	}
	for addr := range p.uses {
		if !p.own.has(addr) && !bound.has(addr) {
			list = append(list, dataplane.Difference{Place: "interface " + dataplane.ServiceInterface, Key: addr.String(), Wanted: "an address"})
		}
	}
	slices.SortFunc(list, dataplane.Difference.Compare)
	rest, err := p.nftables.Compare(ctx, settings, beside{content, p.own})
	return append(list, rest...), err
}

// hasDrained tells whether a step removes what Collect is about to.
func (p *Plane) hasDrained(s step) bool {
	switch s.operation {
	case deleteDestination:
		_, drains := p.drains[s.server.Key][s.destination.backend]
		return drains
	case deleteServer:
		return len(p.drains[s.server.Key]) > 0
	default:
		return false
	}
}

// difference is what a step would mend.
func (s step) difference() dataplane.Difference {
	d := dataplane.Difference{Place: "ipvs", Key: s.server.String()}
	if s.destination.backend.IsValid() {
		d.Key += " > " + s.destination.backend.String()
	}
	weight := fmt.Sprintf("weight %d", s.destination.weight)
	switch s.operation {
	case addServer:
		d.Wanted = "scheduler " + s.server.scheduler
	case changeServer:
		d.Wanted, d.Found = "scheduler "+s.server.scheduler, "another scheduler or persistence"
	case addDestination:
		d.Wanted = weight
	case changeDestination:
		d.Wanted, d.Found = weight, "another weight"
	case drainDestination, deleteDestination:
		d.Found = "a destination"
	case deleteServer:
		d.Found = "a virtual server"
	}
	return d
}
