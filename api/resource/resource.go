package resource

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// ClusterConfigName is the name of the only ClusterConfig.
const ClusterConfigName = "cluster"

// Kinds lists every kind, in the order in which a transaction carries them: those that
// a node has of its own come first, and a Service after the endpoints that it needs.
var Kinds = []discoveryv1.Kind{
	discoveryv1.Kind_KIND_NODE_CONFIG,
	discoveryv1.Kind_KIND_LOCAL_ENDPOINTS,
	discoveryv1.Kind_KIND_CLUSTER_CONFIG,
	discoveryv1.Kind_KIND_ENDPOINT_SET,
	discoveryv1.Kind_KIND_SERVICE,
}

// Name identifies a resource within a view.
type Name struct {
	Kind discoveryv1.Kind
	Name string
}

// String returns "Service namespace/name" and the like.
func (n Name) String() string { return KindName(n.Kind) + " " + n.Name }

// Proto returns the name's wire form.
func (n Name) Proto() *discoveryv1.ResourceName {
	return &discoveryv1.ResourceName{Kind: n.Kind, Name: n.Name}
}

// NameOf returns the Go form of a wire name.
func NameOf(n *discoveryv1.ResourceName) Name { return Name{Kind: n.GetKind(), Name: n.GetName()} }

// KindName returns a kind's name as people write it: "Service", "EndpointSet",
// "LocalEndpoints", "NodeConfig", "ClusterConfig".
func KindName(kind discoveryv1.Kind) string {
	switch kind {
	case discoveryv1.Kind_KIND_SERVICE:
		return "Service"
	case discoveryv1.Kind_KIND_ENDPOINT_SET:
		return "EndpointSet"
	case discoveryv1.Kind_KIND_LOCAL_ENDPOINTS:
		return "LocalEndpoints"
	case discoveryv1.Kind_KIND_NODE_CONFIG:
		return "NodeConfig"
	case discoveryv1.Kind_KIND_CLUSTER_CONFIG:
		return "ClusterConfig"
	default:
		return fmt.Sprintf("Kind(%d)", int32(kind))
	}
}

// KindOf returns the kind of a resource's body. A body of a newer protocol is
// KIND_UNSPECIFIED.
func KindOf(r *discoveryv1.Resource) discoveryv1.Kind {
	switch r.GetBody().(type) {
	case *discoveryv1.Resource_Service:
		return discoveryv1.Kind_KIND_SERVICE
	case *discoveryv1.Resource_EndpointSet:
		return discoveryv1.Kind_KIND_ENDPOINT_SET
	case *discoveryv1.Resource_LocalEndpoints:
		return discoveryv1.Kind_KIND_LOCAL_ENDPOINTS
	case *discoveryv1.Resource_NodeConfig:
		return discoveryv1.Kind_KIND_NODE_CONFIG
	case *discoveryv1.Resource_ClusterConfig:
		return discoveryv1.Kind_KIND_CLUSTER_CONFIG
	default:
		return discoveryv1.Kind_KIND_UNSPECIFIED
	}
}

var deterministic = proto.MarshalOptions{Deterministic: true}

// Encode sets the resource's version from its content and returns its encoding.
// The last change's trigger time is encoded, but is no content.
// The version is never zero, so that zero can stand for "absent".
func Encode(r *discoveryv1.Resource) ([]byte, error) {
	if KindOf(r) == discoveryv1.Kind_KIND_UNSPECIFIED {
		return nil, errors.New("resource " + r.GetName() + " has no body")
	}
	// What is no content goes last, so that the encoding of the content is a prefix.
	// Decoders accept fields in any order.
	trigger := r.GetLastChangeTriggerTime()
	r.Version, r.LastChangeTriggerTime = 0, nil
	body, err := deterministic.Marshal(r)
	if err == nil {
		r.Version, r.LastChangeTriggerTime = max(1, xxhash.Sum64(body)), trigger
		body, err = appendTrigger(appendVersion(body, r.Version), trigger)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding resource %s: %w", r.GetName(), err)
	}
	return body, nil
}

func appendTrigger(b []byte, trigger *timestamppb.Timestamp) ([]byte, error) {
	if trigger == nil {
		return b, nil
	}
	return deterministic.MarshalAppend(b, &discoveryv1.Resource{LastChangeTriggerTime: trigger})
}

func appendVersion(b []byte, version uint64) []byte {
	const versionField, fixed64 = 2, 1
	b = append(b, versionField<<3|fixed64)
	for i := range 8 {
		b = append(b, byte(version>>(8*i)))
	}
	return b
}

// SplitName splits "namespace/name".
func SplitName(name string) (namespace, object string) {
	namespace, object, _ = strings.Cut(name, "/")
	return namespace, object
}
