package nftables

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
)

// Compare implements dataplane.Dataplane. What clients have added, and slots that are kept
// for packets in flight, are as they should be.
func (p *Plane) Compare(_ context.Context, settings dataplane.Settings, content dataplane.Content) ([]dataplane.Difference, error) {
	if p.loaded == nil {
		return nil, nil // The node does not have the family.
	}
	if has, err := p.hasTable(tableName); err != nil || !has {
		return []dataplane.Difference{{Place: "table " + tableName, Wanted: "a table"}}, err
	}
	l := newLoaded(p.family, settings)
	l.retired = p.loaded.retired
	rules, ok := p.compareSkeleton(l, settings)
	if !ok {
		return []dataplane.Difference{{Place: "table " + tableName, Wanted: "our sets and chains", Found: "others"}}, nil
	}
	list := rules.differences()
	next := newBatch(p.family)
	next.whole(settings, content)
	byKey := map[elementID]*dataplane.Difference{}
	at := func(e element) *dataplane.Difference {
		if byKey[e.id()] == nil {
			spec := p.family.specs[e.set]
			byKey[e.id()] = &dataplane.Difference{Place: spec.kind() + " " + e.set, Key: spec.describe(p.family, e)}
		}
		return byKey[e.id()]
	}
	err := p.eachDifference(l, next, digestElement(p.loaded.digest),
		func(e element) { at(e).Wanted = p.family.specs[e.set].content(p.family, e) },
		func(e element) {
			if _, spare := p.loaded.spare[e.id()]; !spare {
				at(e).Found = p.family.specs[e.set].content(p.family, e)
			}
		})
	for _, d := range byKey {
		list = append(list, *d)
	}
	if ranges := settings.ServiceCIDRs; !p.holdsRanges(l.sets[serviceCIDRs], p.family.cidrElements(ranges)) {
		list = append(list, dataplane.Difference{Place: "set " + serviceCIDRs, Wanted: fmt.Sprint(ranges), Found: "others"})
	}
	slices.SortFunc(list, dataplane.Difference.Compare)
	return list, err
}

// kind is what nft calls it.
func (s setSpec) kind() string {
	if s.verdict || s.value != nil {
		return "map"
	}
	return "set"
}

// content is what an element of a map goes to, or that one of a set is there.
func (s setSpec) content(f *family, e element) string {
	switch {
	case s.verdict:
		return e.value
	case len(s.value) > 0 && len(e.value) > int(f.addrLen):
		return parseBackend(f, []byte(e.value)).String()
	default:
		return "an element"
	}
}

// parseBackend is the reverse of appendBackend.
func parseBackend(f *family, b []byte) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(b[:f.addrLen])
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[f.addrLen:]))
}

// describe says what an element is about.
func (s setSpec) describe(f *family, e element) string {
	key := []byte(e.key)
	switch {
	case s.name == contentDigest:
		return "digest"
	case s.name == checkPorts:
		return fmt.Sprint(binary.BigEndian.Uint16(key))
	case len(key) == int(f.addrLen):
		addr, _ := netip.AddrFromSlice(key)
		return addr.String()
	case len(key) < f.frontendLen():
		return fmt.Sprintf("%x", key)
	case s.name == hairpin:
		return parseFrontend(f, key[f.addrLen:]).String()
	}
	frontend, rest := parseFrontend(f, key).String(), key[f.frontendLen():]
	switch {
	case len(rest) == 0:
		return frontend
	case s.name == endpoints || s.name == localEndpoints:
		return fmt.Sprintf("%s slot %d", frontend, binary.NativeEndian.Uint32(rest))
	case len(rest) == int(f.addrLen):
		addr, _ := netip.AddrFromSlice(rest)
		return frontend + " from " + addr.String()
	}
	return frontend + " to " + parseBackend(f, rest).String()
}
