package kube

import (
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// sink takes one kind's objects from a reflector, which calls it from one
// goroutine, and puts them into the writer. It has the methods of a
// cache.ReflectorStore but keeps nothing besides keys.
type sink[T metav1.Object] struct {
	source *source
	set    func(*admission.Batch, T)
	remove func(*admission.Batch, model.Key)
	// version picks the kind's part of a source version.
	version func(*model.SourceVersion) *uint64
	known   map[model.Key]struct{}
	synced  bool
}

var _ interface {
	cache.TransformingStore
	cache.ResourceVersionUpdater
} = (*sink[metav1.Object])(nil)

// Add puts one object into force.
func (s *sink[T]) Add(object any) error {
	o, ok := object.(T)
	if !ok {
		return fmt.Errorf("got an object of type %T, expected %T", object, o)
	}
	s.source.writer.Update(func(b *admission.Batch) {
		s.known[keyOf(o)] = struct{}{}
		s.set(b, o)
		s.advance(b, o.GetResourceVersion())
	})
	return nil
}

// Update does the same as Add.
func (s *sink[T]) Update(object any) error { return s.Add(object) }

// Delete takes one object out of force.
func (s *sink[T]) Delete(object any) error {
	o, ok := object.(T)
	if !ok {
		return fmt.Errorf("got an object of type %T, expected %T", object, o)
	}
	s.source.writer.Update(func(b *admission.Batch) {
		delete(s.known, keyOf(o))
		s.remove(b, keyOf(o))
		s.advance(b, o.GetResourceVersion())
	})
	return nil
}

// Replace puts a whole list into force, as one update: the initial one, or one
// after the watch was interrupted for too long.
func (s *sink[T]) Replace(list []any, resourceVersion string) error {
	s.source.writer.Update(func(b *admission.Batch) {
		gone := s.known
		s.known = make(map[model.Key]struct{}, len(list))
		for _, object := range list {
			o, ok := object.(T)
			if !ok {
				continue
			}
			key := keyOf(o)
			s.known[key] = struct{}{}
			delete(gone, key)
			s.set(b, o)
		}
		for key := range gone {
			s.remove(b, key)
		}
		s.advance(b, resourceVersion)
		if !s.synced {
			s.synced = true
			s.source.synced(b)
		}
	})
	return nil
}

// Resync has nothing to do: there is no second copy to compare with.
func (s *sink[T]) Resync() error { return nil }

// Transformer returns what the reflector does to objects before it gathers them.
func (s *sink[T]) Transformer() cache.TransformFunc { return strip }

// UpdateResourceVersion records progress without a change, as bookmarks tell it.
func (s *sink[T]) UpdateResourceVersion(resourceVersion string) {
	s.source.writer.Update(func(b *admission.Batch) { s.advance(b, resourceVersion) })
}

// advance records the resource version that an update leads to. The API says that
// resource versions of one kind are decimal numbers that grow (KEP-5504).
func (s *sink[T]) advance(b *admission.Batch, resourceVersion string) {
	number, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return
	}
	version := b.Version()
	version.Source = s.source.name
	*s.version(&version) = number
	b.SetVersion(version)
}

func keyOf(o metav1.Object) model.Key {
	return model.Key{Namespace: o.GetNamespace(), Name: o.GetName()}
}
