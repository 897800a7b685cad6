package ruleset

// counted is a multiset: several Services may have the same endpoint on this node.
type counted[T comparable] map[T]int

// tally follows which members of a counted come and go during an update.
type tally[T comparable] struct {
	before map[T]bool
}

func (t *tally[T]) note(c counted[T], member T) {
	if t.before == nil {
		t.before = map[T]bool{}
	}
	if _, ok := t.before[member]; !ok {
		t.before[member] = c[member] > 0
	}
}

func (t *tally[T]) add(c counted[T], members []T) {
	for _, member := range members {
		t.note(c, member)
		c[member]++
	}
}

func (t *tally[T]) remove(c counted[T], members []T) {
	for _, member := range members {
		t.note(c, member)
		if c[member]--; c[member] == 0 {
			delete(c, member)
		}
	}
}

func (t *tally[T]) changes(c counted[T]) (added, removed []T) {
	for member, was := range t.before {
		switch is := c[member] > 0; {
		case is && !was:
			added = append(added, member)
		case was && !is:
			removed = append(removed, member)
		}
	}
	return added, removed
}
