// Package conformance shows by packets that a node does what docs/reference/semantics.md
// says.
//
// Each scenario (scenarios/*.txtar, described in internal/scenario) is a cluster state,
// or several in a row, and what must become of packets. A test puts the state in force
// with `portolan apply` on a node of a lab of network namespaces (internal/lab), and
// sends real packets there. What a probe expects is also compared with the reference
// model, so that the person who wrote the scenario, the model and the kernel have to
// agree. While one state follows another, connections to what both allow must not fail.
//
//	go test ./test/conformance                     all of it
//	go test ./test/conformance -run '/cluster-ip'  one scenario
//	go test ./test/conformance -run '//S53'        what shows a rule
//	go test ./test/conformance -update             docs/reference/conformance.md
package conformance
