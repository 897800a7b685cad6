// Package compile turns the model into resources, by scope. It is pure.
//
//	Service + its EndpointSlices ─▶ Service         shared
//	                                EndpointSet     shared, and a variant per zone that differs
//	                                LocalEndpoints  one per node that has or prefers some
//	Node + Settings              ─▶ NodeConfig      that node
//	ServiceCIDRs                 ─▶ ClusterConfig   shared
//
// Hints, zones, node names and conditions are resolved here and never travel. A
// change recompiles one Service; nothing here iterates over Services or Nodes.
package compile
