package events

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
)

// The kinds of objects that Events are about.
const (
	kindService = "Service"
	kindSlice   = "EndpointSlice"
	kindNode    = "Node"
)

// The reasons of Events.
const (
	reasonStarting     = "Starting"
	reasonHealthcheck  = "FailedToStartServiceHealthcheck"
	reasonSysctl       = "FailedToSetSysctl"
	reasonNodeWarned   = "NodeWarned"
	reasonRejected     = "Rejected"
	reasonNodeRejected = "NodeRejected"
)

// AgentStarted tells that an agent's process has connected for the first time.
func (r *Recorder) AgentStarted(peer nodes.Peer) {
	r.record(event{
		regarding: regarding{kind: kindNode, name: peer.Node},
		typ:       corev1.EventTypeNormal, reason: reasonStarting, action: "StartProxying",
		note: fmt.Sprintf("portolan-agent %s has started (instance %s)", peer.AgentVersion, peer.Instance),
	})
}

// NodeWarned tells what a node could not do beside applying.
func (r *Recorder) NodeWarned(node string, warning *discoveryv1.Warning) {
	object, ok := objectOf(warning.GetName())
	if !ok {
		return
	}
	// A node's word is not taken for what Kubernetes gives a meaning.
	reason := warning.GetReason()
	if reason != reasonHealthcheck && reason != reasonSysctl {
		reason = reasonNodeWarned
	}
	r.record(event{
		regarding: object, typ: corev1.EventTypeWarning, reason: reason, action: "ServeNode",
		note: fmt.Sprintf("node %s: %s", node, warning.GetMessage()),
	})
}

// NodeRejected tells what a node could not use; its last good state stays in force
// there.
func (r *Recorder) NodeRejected(node string, rejected *discoveryv1.RejectedResource) {
	object, ok := objectOf(rejected.GetName())
	if !ok {
		return
	}
	r.record(event{
		regarding: object, typ: corev1.EventTypeWarning, reason: reasonNodeRejected, action: "ServeNode",
		note: fmt.Sprintf("node %s: %s", node, rejected.GetReason()),
	})
}

// Problem tells what is kept out of force, of Services and EndpointSlices.
func (r *Recorder) Problem(problem model.Problem) {
	kind, name, _ := strings.Cut(problem.Object, " ")
	namespace, name, found := strings.Cut(name, "/")
	if !found || kind != kindService && kind != kindSlice {
		return
	}
	r.record(event{
		regarding: regarding{kind, namespace, name},
		typ:       corev1.EventTypeWarning, reason: reasonRejected, action: "Admit", note: problem.Detail(),
	})
}

// objectOf returns the object that a resource is made of. ClusterConfig is made of
// several.
func objectOf(name *discoveryv1.ResourceName) (regarding, bool) {
	namespace, object := resource.SplitName(name.GetName())
	switch name.GetKind() {
	case discoveryv1.Kind_KIND_SERVICE, discoveryv1.Kind_KIND_LOCAL_ENDPOINTS:
		return regarding{kindService, namespace, object}, namespace != "" && object != ""
	case discoveryv1.Kind_KIND_ENDPOINT_SET:
		return regarding{kindSlice, namespace, object}, namespace != "" && object != ""
	case discoveryv1.Kind_KIND_NODE_CONFIG:
		return regarding{kind: kindNode, name: name.GetName()}, name.GetName() != ""
	default:
		return regarding{}, false
	}
}
