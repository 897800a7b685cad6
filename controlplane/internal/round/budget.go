package round

import (
	"fmt"
	"strconv"

	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/objects"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// DefaultMaxServiceEndpoints is how many endpoints a Service may have by default,
// counted once for each port: ten times what the largest clusters have.
const DefaultMaxServiceEndpoints = 50_000

// service compiles a Service. One that is beyond the budget keeps what it has in the
// snapshot, because the work and the memory of all nodes are at stake, not its own.
func (d *Driver) service(tx *snapshot.Tx, key model.Key, o object) {
	owner := "service/" + key.String()
	count := compile.Endpoints(o.service, o.slices)
	if count > d.MaxServiceEndpoints {
		d.exceeded(key, count, tx.Owns(owner))
		return
	}
	d.withinBudget(key)
	if !d.replace(tx, owner, compile.Service(d.Settings.Allow(o.service), o.slices)) {
		return
	}
	if o.service == nil {
		delete(d.served, key)
		return
	}
	o.since = d.begun
	if last, served := d.served[key]; served {
		o.since = last.since
	}
	d.served[key] = o
}

// exceeded records a Service that is beyond the budget. It is logged once, and not
// at every change of one that has thousands of endpoints.
func (d *Driver) exceeded(key model.Key, count int, known bool) {
	consequence := "the object is not in force"
	if known {
		consequence = "its last good state stays in force"
	}
	problem := model.Problem{
		Object: objects.ServiceName(key), Field: "endpoints", Value: strconv.Itoa(count), Reason: model.Exceeded,
		Message: fmt.Sprintf("expected at most %d (--max-service-endpoints), counted once for each port; %s", d.MaxServiceEndpoints, consequence),
	}
	d.Cluster.SetProblems(cluster.Budget, problem.Object, []model.Problem{problem})
	if !d.over[key] {
		d.over[key] = true
		d.Logger.Warn("a Service is beyond its budget", "problem", problem.String())
	}
}

func (d *Driver) withinBudget(key model.Key) {
	if !d.over[key] {
		return
	}
	delete(d.over, key)
	d.Cluster.SetProblems(cluster.Budget, objects.ServiceName(key), nil)
	d.Logger.Info("a Service is within its budget again", "service", key.String())
}
