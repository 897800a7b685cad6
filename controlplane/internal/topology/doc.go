// Package topology decides, for one Service port in one address family, which
// endpoints each node may use. It is pure.
//
// The decision is the one of kube-proxy (CategorizeEndpoints), taken once for all
// nodes instead of once on each:
//
//   - Cluster traffic uses the ready endpoints; where none is ready, those that
//     are terminating but still serve.
//   - If every ready endpoint has a node hint, the nodes that are named use the
//     endpoints that name them.
//   - Else, and for the other nodes, if every ready endpoint has a zone hint, the
//     zones that are named use the endpoints that name them.
//   - Every other node uses all of them. Topology never applies to the
//     terminating fallback.
//   - Local traffic uses the ready endpoints on the node; where none is ready
//     there, those on the node that are terminating but still serve. Topology
//     never narrows it.
//
// The module kubeproxy beside it compares the two on random inputs.
//
// Hints drive it, not the Service's trafficDistribution (KEP-2433, KEP-3015).
package topology
