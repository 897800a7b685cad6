// Package controlplane is the brain of Portolan: it watches a cluster, computes
// what every node must do, and serves it. This package is wiring only:
//
//	source (kube or manifest) ─▶ admission ─▶ cluster ─▶ round (compile) ─▶ snapshot
//	                                                                          │
//	     agents ◀── DiscoveryService (discovery) ◀────────────────────────────┤
//	     people ◀── IntrospectionService (introspection) ◀────────────────────┘
package controlplane
