// Package apiserver runs a real kube-apiserver on a real etcd inside a test, on
// loopback, with all files in a directory of the test.
//
// Start it once per test binary, since it takes some seconds to start and to stop,
// and give each test a namespace of its own. There are no controllers and no
// kubelets: a test writes Nodes and EndpointSlices itself. Everybody with the
// kubeconfig may do everything.
package apiserver
