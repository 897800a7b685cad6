package subscribe

import (
	"fmt"
	"iter"

	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// Resources are those of a transaction, in their order. They are kept encoded and decoded
// one by one as they are asked for: decoded, all those of a large cluster together need
// several times as much memory.
type Resources struct {
	list []change
}

// NewResources returns resources for a Transaction of one's own, such as a test of a
// Handler makes.
func NewResources(list ...*discoveryv1.Resource) (Resources, error) {
	var resources Resources
	for _, r := range list {
		c, _, err := encode(nil, r)
		if err != nil {
			return Resources{}, err
		}
		resources.list = append(resources.list, c)
	}
	return resources, nil
}

// Len returns how many there are.
func (r Resources) Len() int { return len(r.list) }

// Names yields their names, and decodes nothing.
func (r Resources) Names() iter.Seq[resource.Name] {
	return func(yield func(resource.Name) bool) {
		for _, c := range r.list {
			if !yield(c.name) {
				return
			}
		}
	}
}

// All yields the resources, decoded anew each time; each is the caller's to keep or change.
func (r Resources) All() iter.Seq[*discoveryv1.Resource] {
	return func(yield func(*discoveryv1.Resource) bool) {
		for _, c := range r.list {
			if !yield(c.decode()) {
				return
			}
		}
	}
}

// change sets a resource, or removes it if encoded is nil.
type change struct {
	name    resource.Name
	version uint64
	encoded []byte
}

// encode makes the change that sets a resource. Its encoding is appended to a buffer,
// which is returned.
func encode(buffer []byte, r *discoveryv1.Resource) (change, []byte, error) {
	name := resource.Name{Kind: resource.KindOf(r), Name: r.GetName()}
	begin := len(buffer)
	buffer, err := proto.MarshalOptions{}.MarshalAppend(buffer, r)
	if err != nil {
		return change{}, nil, fmt.Errorf("encoding %s: %w", name, err)
	}
	return change{name, r.GetVersion(), buffer[begin:len(buffer):len(buffer)]}, buffer, nil
}

// decode returns a resource again. Its name is the string that the subscriber holds
// anyway, so that a Handler which keeps it does not keep another.
func (c change) decode() *discoveryv1.Resource {
	r := new(discoveryv1.Resource)
	if err := proto.Unmarshal(c.encoded, r); err != nil {
		panic(fmt.Sprintf("%s cannot be decoded, but was encoded here: %v", c.name, err))
	}
	r.Name = c.name.Name
	return r
}
