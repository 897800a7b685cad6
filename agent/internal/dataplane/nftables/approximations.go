package nftables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/api/resource"
)

// approximations are the frontends that ask for schedulers which choose by what nftables
// does not know, with what the operator is told of each.
type approximations map[ruleset.Key]dataplane.Warning

// note takes a frontend for what a key has now; it may be nil.
func (a approximations) note(k ruleset.Key, f *ruleset.Frontend) {
	delete(a, k)
	if f == nil || f.Backends.Len() == 0 || !resource.NeedsConnections(f.Scheduler) {
		return
	}
	shares := "with equal shares"
	if choose(f).cluster.Slots != f.Backends {
		shares = "by weight"
	}
	a[k] = dataplane.Warning{Service: f.Service, Reason: "SchedulerApproximated", Message: fmt.Sprintf(
		"scheduler %q: nftables does not know how many connections an endpoint has: it chooses at random, %s", f.Scheduler, shares)}
}

// list returns what there is to say of Services, once for each.
func (a approximations) list() []dataplane.Warning {
	var list []dataplane.Warning
	for _, w := range a {
		list = append(list, w)
	}
	slices.SortFunc(list, func(x, y dataplane.Warning) int {
		if c := strings.Compare(x.Service, y.Service); c != 0 {
			return c
		}
		return strings.Compare(x.Message, y.Message)
	})
	return slices.Compact(list)
}
