package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portolan-net/portolan/api/check"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// answers are what control planes say of the nodes.
type answers struct {
	nodes    []*introspectionv1.NodeStatus
	problems []*introspectionv1.Problem
	brake    *introspectionv1.Brake
}

// syncChecks ask control planes. Told to ask one, it is a failure if it does not answer.
func syncChecks(ctx context.Context, flags *ask.Flags, told bool, version string, limit time.Duration) []check.Check {
	find := check.Once(ctx, limit, func(ctx context.Context) (*answers, error) { return question(ctx, flags) })
	about := func(id, title string, judge func(*answers) check.Finding) check.Check {
		return check.New(check.Cluster, check.After, id, title, func(context.Context) check.Finding {
			found, err := find()
			if err != nil {
				return check.Skipped("no control plane answers questions")
			}
			return judge(found)
		})
	}
	return []check.Check{
		check.New(check.Cluster, check.After, "sync-answers", "a control plane answers questions", func(context.Context) check.Finding {
			_, err := find()
			return judgeAnswer(flags.Server, err, told)
		}),
		about("sync-nodes", "every node is Synced", func(a *answers) check.Finding { return judgeStates(a.nodes) }),
		about("sync-warnings", "no node says that it cannot do something", func(a *answers) check.Finding { return judgeWarnings(a.nodes) }),
		about("sync-versions", "the agents are of one version", func(a *answers) check.Finding { return judgeVersions(a.nodes, version) }),
		about("sync-objects", "all objects are in force", func(a *answers) check.Finding { return judgeObjects(a.problems) }),
		about("sync-brake", "no mass deletion is held back", func(a *answers) check.Finding { return judgeBrake(a.brake) }),
	}
}

// question asks all control planes of the flag. A node is in the best state that they see it in.
func question(ctx context.Context, flags *ask.Flags) (*answers, error) {
	clients, done, err := flags.ConnectAll()
	if err != nil {
		return nil, err
	}
	defer done()
	all, best := &answers{}, ask.Best{}
	for _, client := range clients {
		nodes, err := client.ListNodes(ctx, &introspectionv1.ListNodesRequest{})
		if err != nil {
			return nil, client.Explain(err)
		}
		problems, err := client.ListProblems(ctx, &introspectionv1.ListProblemsRequest{})
		if err != nil {
			return nil, client.Explain(err)
		}
		best.Add(nodes)
		all.problems = problems.GetProblems()
		if problems.GetBrake() != nil {
			all.brake = problems.GetBrake()
		}
	}
	all.nodes = best.List()
	return all, nil
}

func judgeAnswer(server string, err error, told bool) check.Finding {
	switch {
	case err == nil:
		return check.Passed("%s answers", server)
	case told:
		return check.Failed("%v", err).Do("Give --server the admin address, or --api-listen's with --token-file and --tls-ca-file.")
	default:
		return check.Skipped("no --server is given, and nothing answers at %s", server)
	}
}

func judgeStates(nodes []*introspectionv1.NodeStatus) check.Finding {
	found := map[introspectionv1.SyncState][]string{}
	for _, node := range nodes {
		text := node.GetNode()
		if trouble := output.Trouble(node); trouble != "" {
			text += " (" + trouble + ")"
		}
		found[node.GetState()] = append(found[node.GetState()], text)
	}
	var bad, passing []string
	for _, state := range slices.Sorted(maps.Keys(found)) {
		text := fmt.Sprintf("%s: %s", output.State(state), check.Few(found[state]))
		switch state {
		case introspectionv1.SyncState_SYNC_STATE_SYNCED:
		case introspectionv1.SyncState_SYNC_STATE_PENDING, introspectionv1.SyncState_SYNC_STATE_CONNECTING:
			passing = append(passing, text)
		default:
			bad = append(bad, text)
		}
	}
	synced := len(found[introspectionv1.SyncState_SYNC_STATE_SYNCED])
	switch {
	case len(nodes) == 0:
		return check.Warned("no node is known to the control plane").Do("See that the cluster has nodes, and that agents can reach the control plane.")
	case len(bad) > 0:
		return check.Failed("%d of %d nodes are Synced; %s", synced, len(nodes), strings.Join(append(bad, passing...), "; ")).Do("portolan get nodes says why; see what the agents of these nodes log.")
	case len(passing) > 0:
		return check.Warned("%d of %d nodes are Synced; %s", synced, len(nodes), strings.Join(passing, "; ")).Do("Wait: portolan status --wait.")
	default:
		return check.Passed("all %d nodes are Synced", len(nodes))
	}
}

func judgeWarnings(nodes []*introspectionv1.NodeStatus) check.Finding {
	var found []string
	for _, node := range nodes {
		if warning := output.Warning(node); warning != "" {
			found = append(found, node.GetNode()+": "+warning)
		}
	}
	if len(found) > 0 {
		return check.Warned("%s", check.Few(found)).Do("portolan get nodes -o wide shows all of them.")
	}
	return check.Passed("no node says so")
}

func judgeVersions(nodes []*introspectionv1.NodeStatus, ours string) check.Finding {
	found := map[string][]string{}
	for _, node := range nodes {
		if v := node.GetAgentVersion(); v != "" {
			found[v] = append(found[v], node.GetNode())
		}
	}
	var list []string
	for _, v := range slices.Sorted(maps.Keys(found)) {
		list = append(list, v+" on "+check.Few(found[v]))
	}
	switch {
	case len(list) == 0:
		return check.Skipped("no agent is connected")
	case len(list) > 1:
		return check.Warned("the agents are of %d versions: %s: expected one, but while they are exchanged", len(list), strings.Join(list, "; ")).Do("Wait for the rollout of the DaemonSet, or look at what holds it up.")
	case found[ours] == nil:
		return check.Passed("all agents are of one version, %s; this program is of %s", slices.Collect(maps.Keys(found))[0], ours)
	default:
		return check.Passed("all agents are of version %s", ours)
	}
}

func judgeObjects(problems []*introspectionv1.Problem) check.Finding {
	var found []string
	for _, p := range problems {
		found = append(found, p.GetObject()+": "+p.GetMessage())
	}
	if len(found) > 0 {
		return check.Warned("%d problems: %s", len(found), check.Few(found)).Do("portolan get problems says what was expected.")
	}
	return check.Passed("all objects are in force")
}

func judgeBrake(brake *introspectionv1.Brake) check.Finding {
	if brake != nil {
		return check.Failed("the removal of %d Services is held back", len(brake.GetServices())).Do("portolan get problems names them; portolan release lets them go.")
	}
	return check.Passed("none is held back")
}
