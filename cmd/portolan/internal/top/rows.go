package top

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// row is a node or a Service.
type row struct {
	name string

	node *introspectionv1.NodeStatus
	// behind is how many revisions the node has to go; silent for how long it has not
	// acknowledged one of them.
	behind uint64
	silent time.Duration
	// resources and bytes are sent to the node in a second.
	resources, bytes float64

	frontends, endpoints, elements int
}

// nodeRecord is a node as -o json has it.
type nodeRecord struct {
	Node               string  `json:"node"`
	State              string  `json:"state"`
	Behind             uint64  `json:"behind"`
	SilentSeconds      float64 `json:"silentSeconds"`
	ApplySeconds       float64 `json:"applySeconds"`
	ResourcesPerSecond float64 `json:"resourcesPerSecond"`
	BytesPerSecond     float64 `json:"bytesPerSecond"`
	SentBytes          uint64  `json:"sentBytes"`
	FullSyncs          uint64  `json:"fullSyncs"`
}

func asNode(r row) any {
	return nodeRecord{
		Node: r.name, State: output.State(r.node.GetState()), Behind: r.behind, SilentSeconds: r.silent.Seconds(),
		ApplySeconds: r.node.GetApplyDuration().AsDuration().Seconds(), ResourcesPerSecond: r.resources, BytesPerSecond: r.bytes,
		SentBytes: r.node.GetSentBytes(), FullSyncs: r.node.GetFullSyncs(),
	}
}

// serviceRecord is a Service as -o json has it.
type serviceRecord struct {
	Service   string `json:"service"`
	Elements  int    `json:"elements"`
	Frontends int    `json:"frontends"`
	Endpoints int    `json:"endpoints"`
}

func asService(r row) any {
	return serviceRecord{Service: r.name, Elements: r.elements, Frontends: r.frontends, Endpoints: r.endpoints}
}

// render returns the rows that take most in the format that was asked for: a table, or what a
// row is as JSON, in a list under a name.
func (o *options) render(columns []column, by column, rows []row, list string, record func(row) any) (string, error) {
	rows = first(by, rows, o.most)
	if o.format == output.Table {
		return table(columns, rows)
	}
	records := make([]any, len(rows))
	for i, r := range rows {
		records[i] = record(r)
	}
	encoded, err := json.Marshal(map[string]any{list: records})
	if err != nil {
		return "", fmt.Errorf("as JSON: %w", err)
	}
	var text strings.Builder
	err = o.format.PrintJSON(&text, encoded)
	return text.String(), err
}

// first returns the rows that take most, by a column.
func first(by column, rows []row, most int) []row {
	slices.SortStableFunc(rows, func(a, b row) int {
		switch {
		case by.less(b, a):
			return -1
		case by.less(a, b):
			return 1
		default:
			return strings.Compare(a.name, b.name)
		}
	})
	if most > 0 && len(rows) > most {
		rows = rows[:most]
	}
	return rows
}

func table(columns []column, rows []row) (string, error) {
	var heading []string
	for _, c := range columns {
		heading = append(heading, c.heading)
	}
	cells := make([][]string, len(rows))
	for i, r := range rows {
		for _, c := range columns {
			cells[i] = append(cells[i], c.cell(r))
		}
	}
	var text strings.Builder
	err := output.Rows(&text, heading, cells)
	return text.String(), err
}
