// Package metricstext writes metrics as text that two programs can be compared by:
// what a dashboard depends on, and no values.
package metricstext

import (
	"fmt"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Describe returns a line for each metric whose name begins with the prefix: name,
// type, labels, and the upper bounds of a histogram's buckets. A metric must have
// a sample to be seen.
func Describe(families []*dto.MetricFamily, prefix string) string {
	var lines []string
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), prefix) {
			lines = append(lines, describe(family))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func describe(family *dto.MetricFamily) string {
	var line strings.Builder
	sample := family.GetMetric()[0]
	var labels []string
	for _, label := range sample.GetLabel() {
		labels = append(labels, label.GetName())
	}
	slices.Sort(labels)
	fmt.Fprintf(&line, "%s %s {%s}", family.GetName(), strings.ToLower(family.GetType().String()), strings.Join(labels, ","))
	for _, bucket := range sample.GetHistogram().GetBucket() {
		fmt.Fprintf(&line, " %v", bucket.GetUpperBound())
	}
	return line.String() + "\n"
}
