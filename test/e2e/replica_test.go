package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/portolan-net/portolan/test/e2e/internal/apiserver"
	"github.com/portolan-net/portolan/test/e2e/internal/product"
)

// replica is a control plane's process.
type replica struct {
	agents, admin, metrics string
	process                *product.Process
	// again starts it anew.
	again func()
}

// startReplica starts a control plane to which agents come at an address of the
// test's namespace.
func startReplica(t *testing.T, server *apiserver.Server, host string, port int) *replica {
	address := func(host string, offset int) string { return fmt.Sprintf("%s:%d", host, port+offset) }
	r := &replica{agents: address(host, 0), admin: address("127.0.0.1", 1), metrics: address("127.0.0.1", 2)}
	r.again = func() {
		r.process = product.Start(t, "portolan-controlplane", "--kubeconfig", server.Kubeconfig, "--insecure",
			"--listen", r.agents, "--admin-listen", r.admin, "--metrics-listen", r.metrics)
	}
	r.again()
	return r
}

// ready returns an error unless the replica serves agents.
func (r *replica) ready() error {
	response, err := http.Get("http://" + r.metrics + "/readyz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz of %s: %s", r.metrics, response.Status)
	}
	return nil
}

const (
	fullSyncs  = "portolan_full_syncs_total"
	sentBytes  = "portolan_sent_bytes_total"
	mismatches = "portolan_digest_mismatches_total"
	revision   = "portolan_revision"
)

// figures are what a replica counts.
type figures struct{ revision, bytes, fullSyncs, mismatches float64 }

func (r *replica) figures(t *testing.T) figures {
	t.Helper()
	return figures{r.figure(t, revision), r.figure(t, sentBytes), r.figure(t, fullSyncs), r.figure(t, mismatches)}
}

// expectNewerThan waits until the replica has come beyond a revision of its own.
func (r *replica) expectNewerThan(t *testing.T, old float64) {
	t.Helper()
	eventually(t, func() error {
		if now := r.figure(t, revision); now <= old {
			return fmt.Errorf("%s is still at revision %v", r.admin, now)
		}
		return nil
	})
}

// figure returns a metric without labels.
func (r *replica) figure(t *testing.T, name string) float64 {
	t.Helper()
	value, ok := figure(t, r.metrics, name)
	if !ok {
		t.Fatalf("%s has no %s", r.metrics, name)
	}
	return value
}

// figure returns a metric by its name, with the labels it has, of who serves metrics at an
// address.
func figure(t *testing.T, address, name string) (float64, bool) {
	t.Helper()
	response := need(http.Get("http://" + address + "/metrics"))(t)
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return need(strconv.ParseFloat(value, 64))(t), true
		}
	}
	return 0, false
}

// synced returns how many nodes are connected and hold the current revision, and
// an error if any that is connected does not.
func (r *replica) synced(t *testing.T) (int, error) {
	text, err := product.Run(t.Context(), "portolan", "get", "nodes", "--server", r.admin, "-o", "json")
	if err != nil {
		return 0, fmt.Errorf("asking %s for its nodes: %w", r.admin, err)
	}
	var answer struct {
		Revision string
		Nodes    []struct{ Node, State, AckedRevision string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return 0, err
	}
	count := 0
	for _, node := range answer.Nodes {
		switch {
		case node.State == "SYNC_STATE_DISCONNECTED":
		case node.State == "SYNC_STATE_SYNCED" && node.AckedRevision == answer.Revision:
			count++
		default:
			return 0, fmt.Errorf("%s is %s at revision %s of %s", node.Node, node.State, node.AckedRevision, answer.Revision)
		}
	}
	return count, nil
}
