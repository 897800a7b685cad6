package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/report"
	"github.com/portolan-net/portolan/cmd/portolan/internal/sandbox"
)

// step shows one thing, verifies it, and returns a figure for the summary.
type step struct {
	title string
	run   func(*lab, context.Context) (figure string, err error)
}

var steps = []step{
	{"A pod reaches a Service", (*lab).clusterIP},
	{"The internet reaches a node port", (*lab).nodePort},
	{"The internet reaches a load-balancer address", (*lab).loadBalancer},
	{"A client keeps its pod (session affinity)", (*lab).affinity},
	{"A pod sees who its client is (external policy Local)", (*lab).externalLocal},
	{"Traffic stays in its zone (topology hints)", (*lab).zones},
	{"What no Service declares is not served", (*lab).undeclared},
	{"Endpoints come and go under load", (*lab).churn},
	{"The control plane is killed (kill -9)", (*lab).killControlPlane},
	{"An agent is killed too, and starts again", (*lab).killAgent},
	{"The control plane comes back", (*lab).resume},
}

// steps makes the cluster, shows everything and tells whether all went well.
func (l *lab) steps(ctx context.Context, clusterOnly bool) bool {
	show := steps
	if clusterOnly {
		show = nil
	}
	err := l.Step("A cluster of three nodes", func() (string, error) { return l.cluster(ctx) })
	for _, s := range show {
		if err != nil || ctx.Err() != nil {
			break
		}
		err = l.Step(s.title, func() (string, error) {
			figure, err := s.run(l, ctx)
			if ctx.Err() != nil {
				return "", nil //nolint:nilerr // Interrupted; what failed for that reason is no news.
			}
			if err == nil {
				err = l.check()
			}
			return figure, err
		})
	}
	if ctx.Err() != nil {
		return false
	}
	return l.Summary()
}

// cluster makes the namespaces and starts everything.
func (l *lab) cluster(ctx context.Context) (string, error) {
	if err := l.build(); err != nil {
		return "", sandbox.Advise(err, theDemo)
	}
	for _, p := range l.pods {
		if err := p.start(); err != nil {
			return "", err
		}
	}
	for name, content := range manifestFiles(l.topology) {
		if err := replace(l.manifests(), name, content); err != nil {
			return "", err
		}
	}
	l.show()
	begun := time.Now()
	if err := l.startControlPlane(); err != nil {
		return "", err
	}
	if err := l.awaitControlPlane(ctx); err != nil {
		return "", err
	}
	for _, n := range l.nodes {
		if err := l.startAgent(n); err != nil {
			return "", err
		}
	}
	s, err := l.await(ctx, 0)
	if err != nil {
		return "", err
	}
	took := time.Since(begun)
	l.fullSync = s.nodes
	l.Say("1 control plane and 3 agents started, each a process in its own namespace")
	for _, n := range l.nodes {
		l.Detail("%s was sent all: %s, applied in %s", n.name, l.sent(s.nodes[n.name]), report.Duration(s.nodes[n.name].GetApplyDuration().AsDuration()))
	}
	l.Check("all 3 kernels hold revision %d, %s after the start", s.revision, report.Duration(took))
	return fmt.Sprintf("in all kernels after %s", report.Duration(took)), nil
}

// show prints the machines.
func (l *lab) show() {
	rows := [][]string{}
	for _, n := range l.nodes {
		text := ""
		for _, p := range l.pods {
			if p.node == n {
				text += fmt.Sprintf("%s %s  ", p.name, p.addresses.v4)
			}
		}
		rows = append(rows, []string{n.name, n.addresses.v4, n.zone, "pods  " + text})
	}
	rows = append(rows,
		[]string{"control", controlAddress, "", "control plane; reads " + l.manifests()},
		[]string{"internet", clientAddress, "", "a client outside of the cluster"})
	l.Table(rows)
}
