// Package introspection answers what each node was told, what it said of it, and
// why it was told that.
//
//	snapshot.View ──▶ GetView        Services with their frontends and endpoints
//	nodes.Registry ─▶ ListNodes      how far each node has come
//	Cluster ────────▶ ListProblems   what could not be used
//	Explainer ──────▶ ExplainService the decisions behind a view
//
// A view is read from the very resources that streams carry, not from the model
// that they were compiled from, so that it shows what nodes really have.
package introspection
