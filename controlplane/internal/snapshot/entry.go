package snapshot

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// Scope says which nodes a resource is for. The zero value is all of them; at
// most one field is set. Node is set for the kinds of OfNode, and for no other, so that
// what nodes have in common is the same for each of them.
type Scope struct {
	Zone string
	Node string
}

// Scoped is a resource and the scope it is for.
type Scoped struct {
	Scope    Scope
	Resource *discoveryv1.Resource
}

// OfNode tells whether each node has its own resources of a kind.
func OfNode(kind discoveryv1.Kind) bool {
	return kind == discoveryv1.Kind_KIND_NODE_CONFIG || kind == discoveryv1.Kind_KIND_LOCAL_ENDPOINTS
}

// Entry is an encoded resource. It is immutable.
type Entry struct {
	Name    resource.Name
	Version uint64
	// Frame is the encoded resources field of a StreamDeltasResponse: tag,
	// length, Resource. Frames can be concatenated.
	Frame []byte

	owner string
}

// framePrefix is the longest tag and length before a Resource: the field number
// takes one byte, the length of a Resource below 2 GiB five.
const framePrefix = 6

const resourcesField = 3

// encode makes the entry of a resource and sets its version.
func encode(owner string, scoped Scoped) (*Entry, error) {
	r := scoped.Resource
	if kind := resource.KindOf(r); OfNode(kind) != (scoped.Scope.Node != "") {
		return nil, fmt.Errorf("%s %q in scope %+v: expected a node's scope for the kinds that nodes have of their own, and for no other",
			resource.KindName(kind), r.GetName(), scoped.Scope)
	}
	body, err := resource.Encode(r)
	if err != nil {
		return nil, err
	}
	frame := make([]byte, 0, len(body)+framePrefix)
	frame = protowire.AppendTag(frame, resourcesField, protowire.BytesType)
	frame = protowire.AppendBytes(frame, body)
	return &Entry{
		Name:    resource.Name{Kind: resource.KindOf(r), Name: r.GetName()},
		Version: r.GetVersion(),
		Frame:   frame,
		owner:   owner,
	}, nil
}

// Decode returns the entry's resource. It allocates: it is for people's
// questions, not for streams.
func (e *Entry) Decode() (*discoveryv1.Resource, error) {
	_, _, tagLen := protowire.ConsumeField(e.Frame)
	if tagLen < 0 {
		return nil, fmt.Errorf("decoding %s: %w", e.Name, protowire.ParseError(tagLen))
	}
	body, _ := protowire.ConsumeBytes(e.Frame[protowire.SizeTag(resourcesField):])
	r := new(discoveryv1.Resource)
	if err := proto.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", e.Name, err)
	}
	return r, nil
}

// Keys order resources by scope, kind and bucket, so that a bucket of any
// division is a few prefixes of the tree:
//
//	scope byte [zone or node name, 0] kind byte bucket (2 bytes) name
const (
	scopeShared = 's'
	scopeZone   = 'z'
	scopeNode   = 'n'
)

func scopePrefix(s Scope) []byte {
	switch {
	case s.Node != "":
		return append(append([]byte{scopeNode}, s.Node...), 0)
	case s.Zone != "":
		return append(append([]byte{scopeZone}, s.Zone...), 0)
	default:
		return []byte{scopeShared}
	}
}

func appendKind(prefix []byte, kind discoveryv1.Kind) []byte {
	return append(prefix, byte(kind))
}

func appendBucket(prefix []byte, bucket int) []byte {
	return binary.BigEndian.AppendUint16(prefix, uint16(bucket))
}

func key(s Scope, name resource.Name) []byte {
	bucket := int(resource.NameHash(name.Name) % resource.MaxBuckets)
	return append(appendBucket(appendKind(scopePrefix(s), name.Kind), bucket), name.Name...)
}
