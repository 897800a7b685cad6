// Command bench runs the project's benchmarks, compares what they measured with
// floors, peers and our own targets, and writes docs/reference/benchmarks.md.
//
//	runs.go ──▶ go test -bench ──▶ raw output ──▶ results.go ──▶ rows.go ──▶ document.go
//
// It is a module of its own, so that what reads benchmarks and draws curves never
// reaches the product's. It fails if a benchmark does, or if a row finds no figure: a
// document with holes would look like one without misses.
package main
