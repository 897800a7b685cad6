// Package snapshot holds what the control plane serves: immutable, content-
// addressed snapshots of all resources, and the log of what changed between them.
//
//	compile ── Replace(owner, resources) ──▶ Store ── Commit ──▶ Snapshot N+1
//	                                                               │ closes N.Changed
//	view at N ── To(snapshot N+1) ◀──────────────────────────────────┘
//
// A resource has a scope: shared by all nodes, a variant for one zone, or for one
// node alone, if it is of a kind that nodes have of their own. A node's View resolves
// each name to its zone's variant, else the shared one. The way from a View to a later
// one has two parts: a Span that nodes have in common, which is computed once for all
// of them, and the node's own steps. Resources live in a persistent radix tree, so a commit
// costs the change and not the cluster, and an old snapshot that a slow stream
// still refers to shares almost all of its memory with the current one.
//
// Invariants: revisions increase by one; a commit that changes no version makes
// no snapshot; a resource is encoded once, when it is committed, and its Frame is
// shared by all streams; zone variants of equal content share one Frame.
package snapshot
