package ruleset

// NoLocal counts Service ports with a Local policy that have endpoints somewhere
// and none on this node: their connections are dropped.
type NoLocal struct {
	// Internal and External are by which of the two policies it is.
	Internal, External int
}

// byFamily has a count for IPv4 and one for IPv6.
type byFamily [2]NoLocal

func (b *byFamily) of(is6 bool) *NoLocal {
	if is6 {
		return &b[1]
	}
	return &b[0]
}

// count takes a port of a Service into account, given how many endpoints it has
// and how many of them are here.
func (n *NoLocal) count(view View, cluster, local int) {
	if cluster == 0 || local > 0 {
		return
	}
	if view.Service.InternalLocal {
		n.Internal++
	}
	if view.Service.ExternalLocal {
		n.External++
	}
}

func (b *byFamily) replace(old *rules, next *rules) {
	for i := range b {
		if old != nil {
			b[i].Internal -= old.noLocal[i].Internal
			b[i].External -= old.noLocal[i].External
		}
		b[i].Internal += next.noLocal[i].Internal
		b[i].External += next.noLocal[i].External
	}
}

// NoLocal returns how many ports of a family have no endpoint where their policy
// wants one.
func (t *Table) NoLocal(is6 bool) NoLocal { return *t.noLocal.of(is6) }
