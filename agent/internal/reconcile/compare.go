package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// mostDifferences is how many are told of; where there are more, the first say what is wrong.
const mostDifferences = 200

// Compare reads what the kernel holds and tells how that differs from what it should. It
// waits its turn among transactions, and later ones wait for it: it costs about what
// writing everything does. Nothing is changed.
func (l *Loop) Compare(ctx context.Context) *discoveryv1.Comparison {
	reply := make(chan *discoveryv1.Comparison, 1)
	select {
	case l.comparisons <- reply:
		return <-reply // The loop always answers.
	case <-ctx.Done():
		return &discoveryv1.Comparison{Error: ctx.Err().Error()}
	}
}

func (l *Loop) compare(ctx context.Context) *discoveryv1.Comparison {
	out := &discoveryv1.Comparison{Frontends: uint64(l.table.Len())}
	if !l.told {
		out.Error = "no control plane has spoken since the agent started: what the kernel should hold is not known"
		return out
	}
	var errs []error
	for _, p := range l.planes {
		if p.missing {
			continue
		}
		if p.whole {
			errs = append(errs, fmt.Errorf("%s: everything is about to be written anew, since that failed: %w", p.Family(), l.failure))
			continue
		}
		differences, err := p.Compare(ctx, l.settings, l.table)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Family(), err))
		}
		note(out, p.Family(), differences)
	}
	if err := errors.Join(errs...); err != nil {
		out.Error = err.Error()
	}
	return out
}

func note(out *discoveryv1.Comparison, family dataplane.Family, differences []dataplane.Difference) {
	for _, d := range differences {
		if len(out.GetDifferences()) == mostDifferences {
			out.Omitted++
			continue
		}
		out.Differences = append(out.Differences, &discoveryv1.KernelDifference{
			Family: string(family), Place: d.Place, Key: d.Key, Wanted: d.Wanted, Found: d.Found,
		})
	}
}
