// Package events tells the cluster's people, as Kubernetes Events, what Portolan
// would otherwise say in its log only:
//
//	Starting                         Normal   Node           an agent's process has connected
//	FailedToStartServiceHealthcheck  Warning  Service        a node cannot listen on its health-check port
//	FailedToSetSysctl                Warning  Node           a node cannot set up connection tracking
//	Rejected                         Warning  Service, EndpointSlice  what admission or a budget keeps out
//	NodeRejected                     Warning  Service, EndpointSlice, Node  what a node could not use
//	NodeWarned                       Warning  Service        what a node serves otherwise than asked for
//
// Events are best effort and never hold anything up: they are queued within bounds
// and written in the background, few at a time and few for each object. One that is
// repeated is one Event whose series counts. Its name follows from what it says, so
// that replicas that see the same thing write it once.
package events
