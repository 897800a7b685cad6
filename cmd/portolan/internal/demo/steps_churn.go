package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/report"
	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/traffic"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

const (
	// interval spaces the connections of one worker.
	interval = 2 * time.Millisecond
	// drain is how long a pod goes on after the kernels have forgotten it: what was
	// on its way then still arrives.
	drain = 50 * time.Millisecond
	// settle is how long traffic flows between two edits.
	settle = 100 * time.Millisecond
)

// flow starts traffic of all kinds to the web Service.
func (l *lab) flow(ctx context.Context) *traffic.Flow {
	toService := net.JoinHostPort(webIP, servicePort)
	toNode := net.JoinHostPort(l.node("b").addresses.v4, webNodePort)
	return traffic.Start(ctx, interval,
		traffic.Route{Name: "pod a1 → " + toService, From: l.pod("a1").namespace, Address: toService},
		traffic.Route{Name: "pod c1 → " + toService, From: l.pod("c1").namespace, Address: toService},
		traffic.Route{Name: "internet → " + toNode, From: l.internet, Address: toNode},
	)
}

// edit is one change of the web Service's endpoints.
type edit struct {
	what string
	next listing
}

// edits takes each pod away in some way and brings it back, and scales to one pod
// and back.
func edits(pods []*pod) []edit {
	ways := []condition{absent, notReady, terminating}
	names := []string{"removed", "not ready", "terminating"}
	var list []edit
	const rounds = 9
	for i := range rounds {
		p := pods[i%len(pods)]
		list = append(list,
			edit{p.name + " " + names[i%len(ways)], listing{p.name: ways[i%len(ways)]}},
			edit{p.name + " back", listing{}})
	}
	one := listing{}
	for _, p := range pods[1:] {
		one[p.name] = absent
	}
	return append(list, edit{"scaled to one pod", one}, edit{"scaled to all pods", listing{}})
}

// outcomes are what all edits took and cost.
type outcomes struct {
	latencies        []time.Duration
	resources, bytes []uint64
}

func (l *lab) churn(ctx context.Context) (string, error) {
	list := edits(l.pods)
	l.Say("2 pods and the internet make new connections to the Service all the time")
	l.Say("meanwhile %s is edited %d times: pods go away and come back", webEndpointsFile, len(list))
	l.Say("a pod that went away stops listening %s after all kernels know", report.Duration(drain))
	flow := l.flow(ctx)
	measured, err := l.edit(ctx, list)
	tally, flowErr := flow.Stop()
	if err := errors.Join(err, flowErr); err != nil {
		return "", err
	}
	l.Detail("answered by  %s", tally)
	if tally.Failed > 0 {
		return "", fmt.Errorf("%d connections failed, expected none; the first: %w", tally.Failed, tally.FirstError)
	}
	slices.Sort(measured.latencies)
	slices.Sort(measured.resources)
	slices.Sort(measured.bytes)
	p50, highest := median(measured.latencies), measured.latencies[len(measured.latencies)-1]
	l.Check("%d new connections, 0 failed; the slowest took %s", tally.Answered(), report.Duration(tally.Slowest))
	l.Check("from the edit to a node's kernel, confirmed: median %s, longest %s", report.Duration(p50), report.Duration(highest))
	l.Check("an edit sends a node %s, %s", report.Count(median(measured.resources), "resource"), output.Bytes(median(measured.bytes)))
	return fmt.Sprintf("0 of %d connections failed; edit to kernel %s", tally.Answered(), report.Duration(p50)), nil
}

func median[T any](sorted []T) T { return sorted[len(sorted)/2] }

// edit makes the edits one after the other.
func (l *lab) edit(ctx context.Context, list []edit) (*outcomes, error) {
	measured := &outcomes{}
	before, err := l.status(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if err := l.startListed(e.next); err != nil {
			return nil, err
		}
		begun := time.Now()
		after, err := l.change(ctx, before, webEndpointsFile, l.webEndpoints(e.next, false))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.what, err)
		}
		measured.add(before, after, begun)
		time.Sleep(drain)
		l.stopUnlisted(e.next)
		time.Sleep(settle)
		before = after
	}
	return measured, nil
}

// change replaces a manifest and waits until all nodes have applied it.
func (l *lab) change(ctx context.Context, before status, name, content string) (status, error) {
	if err := replace(l.manifests(), name, content); err != nil {
		return status{}, err
	}
	return l.await(ctx, before.revision)
}

// add adds what one edit took and cost on each node.
func (m *outcomes) add(before, after status, begun time.Time) {
	for _, name := range slices.Sorted(maps.Keys(after.nodes)) {
		then, now := before.nodes[name], after.nodes[name]
		if now.GetAckedAt().AsTime().Before(begun) {
			continue // Nothing changed for this node.
		}
		m.latencies = append(m.latencies, now.GetAckedAt().AsTime().Sub(begun))
		m.resources = append(m.resources, now.GetSentResources()-then.GetSentResources())
		m.bytes = append(m.bytes, now.GetSentBytes()-then.GetSentBytes())
	}
}

// startListed starts the pods that are about to be listed.
func (l *lab) startListed(next listing) error {
	for _, p := range l.pods {
		if next[p.name] == ready && p.server == nil {
			if err := p.start(); err != nil {
				return err
			}
		}
	}
	return nil
}

// stopUnlisted stops the pods that nobody should reach any more.
func (l *lab) stopUnlisted(now listing) {
	for _, p := range l.pods {
		if now[p.name] != ready && p.server != nil {
			p.server.Close()
			p.server = nil
		}
	}
}

func (l *lab) sent(n *introspectionv1.NodeStatus) string {
	return fmt.Sprintf("%d resources, %s", n.GetSentResources(), output.Bytes(n.GetSentBytes()))
}
