package main

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/perf/benchfmt"
)

// metric is a figure of a benchmark: its name without the "Benchmark" and the number of
// processors, and the unit as the benchmark reports it.
type metric struct{ name, unit string }

// results has all that was measured of each metric.
type results map[metric][]float64

func readResults(path string) (results, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	found := results{}
	reader := benchfmt.NewReader(file, path)
	for reader.Scan() {
		result, ok := reader.Result().(*benchfmt.Result)
		if !ok {
			continue // Other lines of tests' output.
		}
		for _, value := range result.Values {
			unit, figure := value.Unit, value.Value
			if value.OrigUnit != "" {
				unit, figure = value.OrigUnit, value.OrigValue
			}
			m := metric{withoutProcessors(result.Name), unit}
			found[m] = append(found[m], figure)
		}
	}
	return found, reader.Err()
}

func withoutProcessors(name benchfmt.Name) string {
	base, parts := name.Parts()
	whole := string(base)
	for _, part := range parts {
		if part[0] != '-' {
			whole += string(part)
		}
	}
	return whole
}

// median returns the middle of what was measured.
func (r results) median(m metric) (float64, error) {
	all := slices.Sorted(slices.Values(r[m]))
	if len(all) == 0 {
		return 0, fmt.Errorf("no benchmark %q has reported %q", m.name, m.unit)
	}
	return all[len(all)/2], nil
}
