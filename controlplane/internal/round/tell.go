package round

import (
	"fmt"
	"strings"

	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// brakeObject is what the problem of a brake that is on is listed under.
const brakeObject = "Services"

// tell says once that the brake came on, and that it is off, and keeps its problem
// up to date.
func (d *Driver) tell(before, now brake.State, why string) {
	if len(now.Held) > 0 {
		d.Cluster.SetProblems(cluster.Brake, brakeObject, []model.Problem{problem(now)})
	}
	switch {
	case len(before.Held) == 0 && len(now.Held) > 0:
		signal(d.hold.came)
		d.Logger.Error("held back a mass deletion: nodes keep Services that the source has no more; "+whatToDo,
			"services", len(now.Held), "of", now.Of, "such_as", some(now.Held))
	case len(now.Held) == 0 && d.braked:
		d.Cluster.SetProblems(cluster.Brake, brakeObject, nil)
		if why == "" {
			why = "the Services are back, or others have their addresses"
		}
		d.Logger.Info("the mass deletion is held back no more", "because", why)
	}
	d.braked = len(now.Held) > 0
}

const whatToDo = "they go when a later full list of the source, which has others, says the same; " +
	"portolan get problems shows them, portolan release lets them go"

func problem(s brake.State) model.Problem {
	return model.Problem{
		Object: brakeObject, Field: "removed", Value: fmt.Sprintf("%d of %d", len(s.Held), s.Of), Reason: model.Held,
		Message: fmt.Sprintf("a mass deletion is held back, such as of %s; nodes keep them; %s", some(s.Held), whatToDo),
	}
}

// some names the first few.
func some(keys []model.Key) string {
	const few = 3
	names := make([]string, 0, few)
	for _, key := range keys[:min(few, len(keys))] {
		names = append(names, key.String())
	}
	return strings.Join(names, ", ")
}
