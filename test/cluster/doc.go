// Package cluster follows the how-to pages on a cluster of two nodes with kubelets, containerd
// and a network plugin, in namespaces of this machine: test/cluster/run makes it, runs the tests
// inside, and takes everything away. It takes root, and some minutes.
//
// The tests have the build tag cluster, because they are nothing without that cluster.
package cluster
