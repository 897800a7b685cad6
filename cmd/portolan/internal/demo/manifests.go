package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What the demo's Services are reached at.
const (
	webIP          = "10.96.0.10"
	loadBalancerIP = "203.0.113.10"
	webNodePort    = "30080"
	stickyIP       = "10.96.0.20"
	localIP        = "10.96.0.30"
	localNodePort  = "30081"
	sixIP          = "fd00:10:96::10"
	unownedIP      = "10.96.200.200"
	servicePort    = "80"
)

// The files of the cluster.
const (
	nodesFile        = "nodes.yaml"
	webFile          = "web.yaml"
	webEndpointsFile = "web-endpoints.yaml"
	othersFile       = "others.yaml"
)

const nodeYAML = `apiVersion: v1
kind: Node
metadata:
  name: %s
  labels:
    topology.kubernetes.io/zone: %s
spec:
  podCIDR: %[3]s
  podCIDRs: [%[3]s, "%[4]s"]
status:
  addresses:
  - type: InternalIP
    address: %[5]s
  - type: InternalIP
    address: %[6]s
---
`

const serviceCIDRYAML = `apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata:
  name: kubernetes
spec:
  cidrs: [` + serviceCIDR + `, "` + serviceCIDR6 + `"]
`

// serviceYAML is a Service of one port; %s are name, type, cluster IP, node port,
// and further fields.
const serviceYAML = `apiVersion: v1
kind: Service
metadata:
  name: %s
  namespace: demo
spec:
  type: %s
  clusterIP: "%s"
  clusterIPs: ["%[3]s"]
  ports:
  - port: ` + servicePort + `
    targetPort: ` + podPort + `
    protocol: TCP%[4]s
%[5]s`

const loadBalancerYAML = `status:
  loadBalancer:
    ingress:
    - ip: ` + loadBalancerIP + `
`

const stickyYAML = `  sessionAffinity: ClientIP
  sessionAffinityConfig:
    clientIP:
      timeoutSeconds: 3600
`

func nodePort(number string) string { return "\n    nodePort: " + number }

// condition is how an endpoint is listed, if at all.
type condition int

const (
	ready condition = iota
	absent
	notReady
	terminating
)

// listing is how the pods are listed as endpoints: ready, but for those that it names.
type listing map[string]condition

const zoneHintsYAML = "  hints: {forZones: [{name: %s}]}\n"

// endpointsYAML returns the EndpointSlice of a Service. With zone hints it asks nodes
// to prefer the endpoints of their own zone.
func endpointsYAML(service, addressType string, pods []*pod, listed listing, zoneHints bool) string {
	var text strings.Builder
	fmt.Fprintf(&text, `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: %s-1
  namespace: demo
  labels:
    kubernetes.io/service-name: %[1]s
addressType: %s
ports:
- name: ""
  port: %s
  protocol: TCP
endpoints:
`, service, addressType, podPort)
	for _, p := range pods {
		if listed[p.name] == absent {
			continue
		}
		address := p.addresses.v4
		if addressType == "IPv6" {
			address = p.addresses.v6
		}
		conditions := map[condition]string{
			ready: "ready: true", notReady: "ready: false, serving: false", terminating: "ready: false, serving: true, terminating: true",
		}[listed[p.name]]
		fmt.Fprintf(&text, "- addresses: [\"%s\"]\n  conditions: {%s}\n  nodeName: %s\n  zone: %s\n", address, conditions, p.node.name, p.node.zone)
		if zoneHints {
			fmt.Fprintf(&text, zoneHintsYAML, p.node.zone)
		}
	}
	return text.String()
}

// manifestFiles returns the whole cluster, by file.
func manifestFiles(t *topology) map[string]string {
	var nodes strings.Builder
	for _, n := range t.nodes {
		fmt.Fprintf(&nodes, nodeYAML, n.name, n.zone, n.podCIDRs.v4, n.podCIDRs.v6, n.addresses.v4, n.addresses.v6)
	}
	return map[string]string{
		nodesFile:        nodes.String() + serviceCIDRYAML,
		webFile:          fmt.Sprintf(serviceYAML, "web", "LoadBalancer", webIP, nodePort(webNodePort), loadBalancerYAML),
		webEndpointsFile: t.webEndpoints(nil, false),
		othersFile: strings.Join([]string{
			fmt.Sprintf(serviceYAML, "sticky", "ClusterIP", stickyIP, "", stickyYAML),
			endpointsYAML("sticky", "IPv4", t.pods, nil, false),
			fmt.Sprintf(serviceYAML, "local", "NodePort", localIP, nodePort(localNodePort), "  externalTrafficPolicy: Local\n"),
			endpointsYAML("local", "IPv4", t.pods, nil, false),
			fmt.Sprintf(serviceYAML, "six", "ClusterIP", sixIP, "", "  ipFamilies: [IPv6]\n"),
			endpointsYAML("six", "IPv6", t.pods, nil, false),
		}, "---\n"),
	}
}

// webEndpoints returns the EndpointSlice that the demo edits.
func (t *topology) webEndpoints(listed listing, zoneHints bool) string {
	return endpointsYAML("web", "IPv4", t.pods, listed, zoneHints)
}

// replace writes a file so that nobody can see half of it. Names that begin with a
// dot are not read as manifests.
func replace(directory, name, content string) error {
	const private = 0o600
	draft := filepath.Join(directory, "."+name)
	if err := os.WriteFile(draft, []byte(content), private); err != nil {
		return fmt.Errorf("writing a manifest: %w", err)
	}
	if err := os.Rename(draft, filepath.Join(directory, name)); err != nil {
		return fmt.Errorf("writing a manifest: %w", err)
	}
	return nil
}
