// Package property compares the whole computation, from Kubernetes objects to what
// a node does with packets, with the reference model, on random clusters and random
// edits of them.
package property
