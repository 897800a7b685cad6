// Package lab is the network of one node, for tests. The namespace that the test
// runs in is the node's; pods and machines outside have namespaces of their own.
//
//	pod 10.244.1.x ──veth── node 10.244.1.1 ... 192.168.77.1 ──veth── outside 192.168.77.2
//
// Each pod has a cable to the node and no other, so that all its packets pass the
// node's rules, also those to its neighbours. (Behind a bridge, answers between
// pods would pass the rules only with br_netfilter.)
package lab
