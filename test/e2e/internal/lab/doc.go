// Package lab is the network of a node, for tests. The namespace that the test
// runs in is the node's; pods and machines outside have namespaces of their own.
//
//	pod 10.244.1.x ──veth── node 10.244.1.1 ... 192.168.77.1 ──veth── outside 192.168.77.2
//
// Each pod has a cable to the node and no other, so that all its packets pass the
// node's rules, also those to its neighbours. (Behind a bridge, answers between
// pods would pass the rules only with br_netfilter.)
//
// A node can also be apart, in a namespace of its own, with a cable to the test's:
//
//	pod 10.244.1.x ──veth── node 10.244.1.1 ... 192.168.78.x ──veth── test 192.168.78.1
package lab
