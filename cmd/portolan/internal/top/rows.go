package top

import (
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

// table returns the rows that take most, by a column.
func table(columns []column, by column, rows []row, most int) (string, error) {
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
