package introspection

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxSuggestions is how many near names an error lists.
const maxSuggestions = 3

// notFound says that there is no such thing, and what there is instead.
func notFound(what, name string, names map[string]struct{}) error {
	text := fmt.Sprintf("no %s %q", what, name)
	if suggestions := near(name, names); len(suggestions) > 0 {
		text += "; did you mean " + strings.Join(suggestions, ", ") + "?"
	} else {
		text += fmt.Sprintf(" among %d", len(names))
	}
	return status.Error(codes.NotFound, text)
}

// near returns the names that one may have meant, the likeliest first.
func near(name string, names map[string]struct{}) []string {
	type candidate struct {
		name     string
		distance int
	}
	var candidates []candidate
	limit := max(2, len(name)/4)
	for other := range names {
		distance := distance(name, other)
		switch {
		case path.Base(other) == path.Base(name):
			distance = 0 // The same name in another namespace.
		case strings.Contains(other, path.Base(name)):
			distance = min(distance, limit)
		}
		if distance <= limit {
			candidates = append(candidates, candidate{other, distance})
		}
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), strings.Compare(a.name, b.name))
	})
	list := make([]string, 0, maxSuggestions)
	for _, c := range candidates[:min(len(candidates), maxSuggestions)] {
		list = append(list, fmt.Sprintf("%q", c.name))
	}
	return list
}

// distance is the number of bytes to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
