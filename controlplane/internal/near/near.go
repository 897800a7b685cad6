// Package near finds the names that somebody may have meant who wrote another one. It
// is pure.
package near

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// most is how many names are suggested.
const most = 3

// Hint returns what to add to an error about a name that is not among others: "; did
// you mean "x"?", or nothing if none is near.
func Hint(name string, among []string) string {
	names := Names(name, among)
	if len(names) == 0 {
		return ""
	}
	for i := range names {
		names[i] = fmt.Sprintf("%q", names[i])
	}
	return "; did you mean " + strings.Join(names, ", ") + "?"
}

// Names returns the names that one may have meant, the likeliest first.
func Names(name string, among []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var candidates []candidate
	limit := max(2, len(name)/4)
	for _, other := range among {
		distance := distance(name, other)
		switch {
		case path.Base(other) == path.Base(name), strings.EqualFold(name, other):
			distance = 0 // The same name in another namespace, or in another case.
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
	list := make([]string, 0, most)
	for _, c := range candidates[:min(len(candidates), most)] {
		if c.distance > 0 && candidates[0].distance == 0 {
			break // There is no doubt.
		}
		list = append(list, c.name)
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
