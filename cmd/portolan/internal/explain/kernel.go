package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// compare asks the node about its kernel.
func (o *options) compare(ctx context.Context, node string) (*introspectionv1.CompareNodeResponse, error) {
	clients, done, err := o.server.ConnectAll()
	if err != nil {
		return nil, err
	}
	defer done()
	return ask.CompareNode(ctx, &o.server, clients, node)
}

// both is what programs are told with --kernel.
func (o *options) both(w io.Writer, explanation, compared proto.Message) (err error) {
	var all struct {
		Explanation json.RawMessage `json:"explanation"`
		Kernel      json.RawMessage `json:"kernel"`
	}
	if all.Explanation, err = output.Encode(explanation); err != nil {
		return err
	}
	if all.Kernel, err = output.Encode(compared); err != nil {
		return err
	}
	text, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("as JSON: %w", err)
	}
	return o.format.PrintJSON(w, text)
}

// judge tells whether the node's kernel has what was decided; it is an error if not.
func judge(w io.Writer, response *introspectionv1.ExplainServiceResponse, c *discoveryv1.Comparison) error {
	if c.GetError() != "" {
		return fmt.Errorf("comparing the kernel of node %s: %s", response.GetDecidedAt(), c.GetError())
	}
	fmt.Fprintln(w, "\nKERNEL")
	var rows [][]string
	for _, d := range c.GetDifferences() {
		if concerns(d, response.GetTraffic()) {
			rows = append(rows, []string{d.GetPlace(), d.GetKey(), d.GetWanted(), d.GetFound()})
		}
	}
	if len(rows) == 0 {
		fmt.Fprintf(w, "  has it, as of revision %d%s\n", c.GetRevision(), elsewhere(c))
		return nil
	}
	if err := indented(w, []string{"PLACE", "KEY", "WANTED", "FOUND"}, rows); err != nil {
		return err
	}
	return fmt.Errorf("the kernel of node %s differs from what was decided", response.GetDecidedAt())
}

// concerns tells whether a difference is about one of the frontends, or about all: a chain
// or a table has no key.
func concerns(d *discoveryv1.KernelDifference, traffic []*introspectionv1.Traffic) bool {
	if d.GetKey() == "" {
		return true
	}
	for _, t := range traffic {
		frontend, _, _ := strings.Cut(t.GetTo(), " (")
		if d.GetKey() == frontend || strings.HasPrefix(d.GetKey(), frontend+" ") {
			return true
		}
	}
	return false
}

// elsewhere says that other Services' part of the kernel differs.
func elsewhere(c *discoveryv1.Comparison) string {
	if n := uint64(len(c.GetDifferences())) + c.GetOmitted(); n > 0 {
		return fmt.Sprintf("; %d differences elsewhere: portolan diff", n)
	}
	return ""
}
