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

// doubtObject is what the problem of nodes that hold more than is served is listed under.
const doubtObject = "Services of nodes"

func (d *Driver) tellDoubt(before, held, served int) {
	if before >= held {
		return
	}
	problem := model.Problem{
		Object: doubtObject, Field: "held", Value: fmt.Sprintf("%d or more", held), Reason: model.Held,
		Message: fmt.Sprintf("only about %d are there since this control plane has started; these nodes keep what they have; %s", served, whatToDo),
	}
	d.Cluster.SetProblems(cluster.Brake, doubtObject, []model.Problem{problem})
	if before > 0 {
		return
	}
	signal(d.hold.came)
	d.Logger.Error("nodes hold far more Services than are there since the start, and keep them; "+whatToDo, "held", held, "served", served)
}

func (d *Driver) tellTrust(why string) {
	d.Cluster.SetProblems(cluster.Brake, doubtObject, nil)
	d.Logger.Info("nodes that hold more Services than are there are brought up to date", "because", why)
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
