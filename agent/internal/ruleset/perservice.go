package ruleset

import "slices"

// perService keeps what Services have beside the kernel's rules.
type perService[T comparable] map[string][]T

// set replaces what a Service has, and tells whether it had something else.
func (p perService[T]) set(name string, list []T) bool {
	if slices.Equal(p[name], list) {
		return false
	}
	if len(list) == 0 {
		delete(p, name)
		return true
	}
	p[name] = list
	return true
}

// all returns what all Services have.
func (p perService[T]) all() []T {
	var all []T
	for _, list := range p {
		all = append(all, list...)
	}
	return all
}
