package subscribe

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

// changeTo is the change that sets a resource.
func changeTo(t *testing.T, r *discoveryv1.Resource) change {
	t.Helper()
	c, _, err := encode(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestResourcesAreDecodedAnewEachTime(t *testing.T) {
	want := []*discoveryv1.Resource{service("d/a", 1), endpoints("d/b", 2)}
	resources, err := NewResources(want...)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got := slices.Collect(resources.All())
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
		got[0].Version++ // It is the caller's.
	}
	names := []resource.Name{serviceName("d/a"), {Kind: discoveryv1.Kind_KIND_ENDPOINT_SET, Name: "d/b"}}
	if got := slices.Collect(resources.Names()); !slices.Equal(got, names) || resources.Len() != len(names) {
		t.Errorf("names %v, want %v", got, names)
	}
}

func TestAskingForSomeResourcesStopsThere(t *testing.T) {
	resources, err := NewResources(service("d/a", 1), service("d/b", 1))
	if err != nil {
		t.Fatal(err)
	}
	for range resources.All() {
		break
	}
	for range resources.Names() {
		break
	}
}

func TestWhatCannotBeEncodedIsNamed(t *testing.T) {
	_, err := NewResources(service("d/a", 1), &discoveryv1.Resource{Name: "d/\xff", Body: &discoveryv1.Resource_Service{}})
	if err == nil {
		t.Fatal("no error")
	}
}
