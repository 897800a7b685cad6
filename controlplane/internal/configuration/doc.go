// Package configuration turns a configuration file into the settings of the nodes. The
// file is Portolan's own Configuration or kube-proxy's KubeProxyConfiguration, told
// apart by apiVersion; the latter is turned into the former first (package
// proxyconfig), so that both mean the same and an imported file means what the one that
// it came from did. It is pure.
//
// Files are read strictly: what is misspelt, repeated, of the wrong type or out of
// bounds is an error with its line, the field as the file calls it, the value and what
// was expected.
package configuration
