// Package admission decides which of a source's objects are put into force. It is
// the one way into the cluster store, so that the API server and a directory of
// manifests follow the same rules:
//
//		source ── Set, Delete ──▶ Batch ── admitted values, problems ──▶ cluster.Store
//
//	  - An object that cannot be used keeps its last good state; what is wrong with
//	    it is recorded under its name.
//	  - A ClusterIP belongs to one Service. Of several that claim it the oldest has
//	    it. Of those created at the same time, or in manifests without a creation
//	    time, the one that has it already keeps it, so that a new claim harms
//	    nobody; if none has it, it goes to the first by name. The others are
//	    rejected by name, and admitted once the address is free. A Service is
//	    admitted with all its ClusterIPs or not at all.
//	  - An endpoint, external IP or load balancer IP that is the ClusterIP of an
//	    admitted Service is left out: it would send traffic in circles, or hand one
//	    Service's traffic to another. So is an external IP or load balancer IP that
//	    lies in a ServiceCIDR: some Service will get it as its ClusterIP.
//
// Where claimants differ in age, the outcome depends on the objects alone and not
// on the order in which they arrived (but for the last good state of objects that
// cannot be used), so all replicas agree. An API server gives no ClusterIP twice;
// only manifests have claimants of the same age, among which the first to arrive
// stays until it goes.
//
// A change costs what it touches: claims and uses of addresses are indexed, and
// only objects that share an address with the change are looked at. A change of a
// ServiceCIDR looks at all external and load balancer IPs.
package admission
