// Package proxyconfig turns kube-proxy's configuration, a KubeProxyConfiguration of
// kubeproxy.config.k8s.io/v1alpha1 or the flags of a command line, into Portolan's own,
// and says of each field or flag that is set what becomes of it: honoured under the
// same name, mapped to another, or ignored and why. One table says so (fields.go), for
// files, flags and the documentation.
//
// It is decoded with kube-proxy's types and strictly: a misspelt field or a repeated
// key is an error, not a silent default. Whether values can be used is not decided
// here but where Portolan's own configuration is read.
package proxyconfig
