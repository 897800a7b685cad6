// Package controlplane is the brain of Portolan: it watches a cluster, computes
// what every node must do, and serves it. This package is wiring only:
//
//	source (kube or manifest) ─▶ admission ─▶ cluster ─▶ round (compile) ─▶ snapshot
//	                                                                          │
//	     agents ◀── DiscoveryService (discovery) ◀────────────────────────────┤
//	     people ◀── IntrospectionService (introspection) ◀────────────────────┘
//
// Beside that line: brake says which removals round holds back, and AdminService
// (administration) lets them go, limit says which streams discovery lets in,
// configuration reads how the nodes are configured and configfile follows its file,
// events tells the API server what people should hear of, and traffic answers from the
// reference model what a Service must do.
package controlplane
