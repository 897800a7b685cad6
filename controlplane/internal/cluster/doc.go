// Package cluster holds the current objects of the cluster, as a source last
// reported them, and which of them have changed since compile last looked.
//
//	source ── Update(tx) ──▶ Store ── Changed ──▶ round ── Take ──▶ dirty keys
//
// A source only stores values and so marks keys; no decision is made here. Keys
// merge: a thousand updates of one Service between two rounds are one dirty key.
package cluster
