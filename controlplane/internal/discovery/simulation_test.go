package discovery

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// names returns the rejected names in order.
func names(rejected []*discoveryv1.RejectedResource) []resource.Name {
	var list []resource.Name
	for _, r := range rejected {
		list = append(list, resource.NameOf(r.GetName()))
	}
	slices.SortFunc(list, func(a, b resource.Name) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return list
}

// number returns a number of the environment, or what there is without.
func number(t *testing.T, variable string, without int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: expected a positive number", variable, text)
	}
	return n
}

// TestSimulatedHistories runs random histories of agents, three replicas, and all that
// may befall them, against the real subscriber and the real server. After each quiet
// point every node holds exactly its view, and the digests and the server's records
// agree; at every commit what a node holds is what it was to hold at that revision.
//
// All of it is real, grpc too, but for the connections, which are in memory, and the
// time. SIMULATION_HISTORIES says how many, SIMULATION_SEED which is the first. A seed
// fixes the steps, pauses and choices of a history, but not which of two goroutines is
// the first within one instant.
func TestSimulatedHistories(t *testing.T) {
	run(t, ordinary, number(t, "SIMULATION_HISTORIES", histories))
}

// TestSimulatedHistoriesOfManyNodes runs a few with hundreds of nodes, and one with
// thousands where there is no race detector.
func TestSimulatedHistoriesOfManyNodes(t *testing.T) {
	run(t, func(seed uint64) setup {
		followers := []int{multitude, 200, 300, 400, 500}[(seed-1)%5]
		return setup{seed: seed, followers: min(followers, multitude), steps: 30, pieceBytes: 1000, fullSyncs: int(seed-1) % 3}
	}, max(1, number(t, "SIMULATION_HISTORIES", histories)/2000))
}

// run runs histories on all processors and tells of the first that failed.
func run(t *testing.T, of func(seed uint64) setup, histories int) {
	const shards = 4
	first := number(t, "SIMULATION_SEED", 1)
	if os.Getenv("SIMULATION_SEED") != "" && os.Getenv("SIMULATION_HISTORIES") == "" {
		histories = 1
	}
	var next, transactions, reconnects, fullSyncs, takeovers, nacks, refused, overtaken atomic.Uint64
	t.Cleanup(func() {
		t.Logf("%d histories: %d transactions, %d reconnects, %d full syncs, %d takeovers, %d NACKs, %d refused streams, %d overtaken by the change log", histories,
			transactions.Load(), reconnects.Load(), fullSyncs.Load(), takeovers.Load(), nacks.Load(), refused.Load(), overtaken.Load())
	})
	for shard := range min(shards, histories) {
		t.Run(strconv.Itoa(shard), func(t *testing.T) {
			t.Parallel()
			for !t.Failed() {
				i := next.Add(1) - 1
				if i >= uint64(histories) {
					return
				}
				out := simulate(t, of(uint64(first)+i))
				transactions.Add(out.transactions)
				reconnects.Add(out.reconnects)
				fullSyncs.Add(out.fullSyncs)
				takeovers.Add(out.takeovers)
				nacks.Add(out.nacks)
				refused.Add(out.refused)
				overtaken.Add(out.overtaken)
				if len(out.violations) > 0 {
					t.Errorf("%s\nrun it again:\nSIMULATION_SEED=%d go test ./controlplane/internal/discovery -run '^%s$'",
						strings.Join(out.told, "\n"), out.setup.seed, strings.Split(t.Name(), "/")[0])
				}
			}
		})
	}
}
