package explain

import (
	"fmt"
	"io"
	"slices"
	"strings"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

// maxShown is how many endpoints a row shows; all of them are in the next section.
const maxShown = 3

// traffic prints what becomes of connections, a row for each frontend and the
// sources for which it is the same.
func traffic(w io.Writer, list []*introspectionv1.Traffic) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nTRAFFIC")
	var rows [][]string
	for len(list) > 0 {
		frontend := list[0].GetTo()
		end := slices.IndexFunc(list, func(t *introspectionv1.Traffic) bool { return t.GetTo() != frontend })
		if end < 0 {
			end = len(list)
		}
		rows = append(rows, merged(list[:end])...)
		list = list[end:]
	}
	return indented(w, []string{"FROM", "TO", "OUTCOME", "ENDPOINTS", "SOURCE-SEEN", "AFFINITY"}, rows)
}

// merged returns the rows of one frontend, one for each outcome.
func merged(list []*introspectionv1.Traffic) [][]string {
	var rows [][]string
	var from [][]string
	for _, t := range list {
		row := []string{"", t.GetTo(), t.GetOutcome(), endpoints(t), seen(t.GetMasquerade()), affinity(t)}
		at := slices.IndexFunc(rows, func(other []string) bool { return slices.Equal(other, row) })
		if at < 0 {
			at = len(rows)
			rows, from = append(rows, row), append(from, nil)
		}
		from[at] = append(from[at], t.GetFrom())
	}
	if len(rows) == 1 && len(list) > 1 {
		from[0] = []string{"anywhere"}
	}
	for i := range rows {
		rows[i][0] = strings.Join(from[i], "; ")
	}
	return rows
}

func endpoints(t *introspectionv1.Traffic) string {
	list := t.GetEndpoints()
	if more := len(list) - maxShown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:maxShown], ", "), more)
	}
	return strings.Join(list, ", ")
}

// seen says whose address an endpoint sees.
func seen(masquerade string) string {
	switch masquerade {
	case "yes":
		return "the node's"
	case "no":
		return "the client's"
	case "hairpin":
		return "the client's, in a hairpin the node's"
	default:
		return ""
	}
}

func affinity(t *introspectionv1.Traffic) string {
	if t.GetAffinity() == nil {
		return ""
	}
	return t.GetAffinity().AsDuration().String()
}
