package resource

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// bodies has one resource of every kind; TestEveryKindHasACase keeps it complete.
var bodies = map[discoveryv1.Kind]func(*rapid.T) *discoveryv1.Resource{
	discoveryv1.Kind_KIND_SERVICE: func(t *rapid.T) *discoveryv1.Resource {
		return &discoveryv1.Resource{Body: &discoveryv1.Resource_Service{Service: &discoveryv1.Service{
			ClusterIps: rapid.SliceOf(rapid.String()).Draw(t, "ips"), Created: rapid.Int64().Draw(t, "created")}}}
	},
	discoveryv1.Kind_KIND_ENDPOINT_SET: func(t *rapid.T) *discoveryv1.Resource {
		return &discoveryv1.Resource{Body: &discoveryv1.Resource_EndpointSet{
			EndpointSet: &discoveryv1.EndpointSet{Service: rapid.String().Draw(t, "service")}}}
	},
	discoveryv1.Kind_KIND_LOCAL_ENDPOINTS: func(t *rapid.T) *discoveryv1.Resource {
		return &discoveryv1.Resource{Body: &discoveryv1.Resource_LocalEndpoints{
			LocalEndpoints: &discoveryv1.LocalEndpoints{Local: []*discoveryv1.EndpointGroup{{
				Endpoints: []*discoveryv1.Endpoint{{Weight: rapid.Uint32().Draw(t, "weight")}}}}}}}
	},
	discoveryv1.Kind_KIND_NODE_CONFIG: func(t *rapid.T) *discoveryv1.Resource {
		return &discoveryv1.Resource{Body: &discoveryv1.Resource_NodeConfig{
			NodeConfig: &discoveryv1.NodeConfig{Zone: rapid.String().Draw(t, "zone")}}}
	},
	discoveryv1.Kind_KIND_CLUSTER_CONFIG: func(t *rapid.T) *discoveryv1.Resource {
		return &discoveryv1.Resource{Body: &discoveryv1.Resource_ClusterConfig{
			ClusterConfig: &discoveryv1.ClusterConfig{ServiceCidrs: rapid.SliceOf(rapid.String()).Draw(t, "cidrs")}}}
	},
}

func TestEveryKindHasACase(t *testing.T) {
	for number, name := range discoveryv1.Kind_name {
		kind := discoveryv1.Kind(number)
		if kind == discoveryv1.Kind_KIND_UNSPECIFIED {
			continue
		}
		if bodies[kind] == nil || !slices.Contains(Kinds, kind) || KindName(kind) == KindName(99) {
			t.Errorf("%s is missing in bodies, Kinds or KindName", name)
		}
	}
	if body := (*discoveryv1.Resource)(nil).ProtoReflect().Descriptor().Oneofs().ByName("body"); body.Fields().Len() != len(Kinds) {
		t.Errorf("%d bodies for %d kinds", body.Fields().Len(), len(Kinds))
	}
}

func drawResource(t *rapid.T) *discoveryv1.Resource {
	r := bodies[rapid.SampledFrom(Kinds).Draw(t, "kind")](t)
	r.Name = rapid.StringMatching(`[a-z]{1,5}/[a-z]{1,5}`).Draw(t, "name")
	return r
}

func TestEqualContentHasAnEqualVersionAndEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawResource(t)
		b := proto.CloneOf(a)
		b.Version = rapid.Uint64().Draw(t, "stale version")
		encodedA, errA := Encode(a)
		encodedB, errB := Encode(b)
		if (errA == nil) != (errB == nil) {
			t.Fatalf("%v and %v", errA, errB)
		}
		if errA != nil {
			return // A string that is not UTF-8.
		}
		if a.GetVersion() == 0 || a.GetVersion() != b.GetVersion() || !bytes.Equal(encodedA, encodedB) {
			t.Fatalf("versions %x and %x", a.GetVersion(), b.GetVersion())
		}
		decoded := new(discoveryv1.Resource)
		if err := proto.Unmarshal(encodedA, decoded); err != nil || !proto.Equal(decoded, a) {
			t.Fatalf("decoded %v, want %v: %v", decoded, a, err)
		}
		if KindOf(decoded) != KindOf(a) {
			t.Fatalf("kind %v", KindOf(decoded))
		}
	})
}

func TestChangedContentHasAnotherVersion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawResource(t), drawResource(t)
		if _, err := Encode(a); err != nil {
			t.Skip(err)
		}
		if _, err := Encode(b); err != nil {
			t.Skip(err)
		}
		a.Version, b.Version = b.GetVersion(), a.GetVersion()
		same := a.GetVersion() == b.GetVersion()
		a.Version, b.Version = 0, 0
		if same != proto.Equal(a, b) {
			t.Fatalf("same version %v for %v and %v", same, a, b)
		}
	})
}

// TestVersionsStay pins versions: they are compared across releases, and a change
// makes every node of a cluster resync on upgrade.
func TestVersionsStay(t *testing.T) {
	r := &discoveryv1.Resource{Name: "demo/web", Body: &discoveryv1.Resource_Service{Service: &discoveryv1.Service{
		ClusterIps: []string{"10.96.0.7", "fd00::7"},
		Ports:      []*discoveryv1.ServicePort{{Name: "http", Protocol: discoveryv1.Protocol_PROTOCOL_TCP, Port: 80, NodePort: 30080}},
		Created:    1_700_000_000,
	}}}
	if _, err := Encode(r); err != nil {
		t.Fatal(err)
	}
	if want := uint64(0x29e328f5007ad521); r.GetVersion() != want {
		t.Errorf("version %#x, want %#x", r.GetVersion(), want)
	}
	if got, want := Mix(NameHash("demo/web"), 7), uint64(0xa2727df860e56009); got != want {
		t.Errorf("mix %#x, want %#x", got, want)
	}
}

func TestAResourceWithoutBodyIsRefused(t *testing.T) {
	if _, err := Encode(&discoveryv1.Resource{Name: "demo/web"}); err == nil {
		t.Error("encoded")
	}
}

func TestNamesReadWell(t *testing.T) {
	name := Name{Kind: discoveryv1.Kind_KIND_SERVICE, Name: "demo/web"}
	if name.String() != "Service demo/web" || NameOf(name.Proto()) != name {
		t.Errorf("%s, %v", name, name.Proto())
	}
	if namespace, object := SplitName("demo/web"); namespace != "demo" || object != "web" {
		t.Errorf("split into %q and %q", namespace, object)
	}
}

func TestTheTriggerTimeIsNoContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawResource(t)
		if _, err := Encode(r); err != nil {
			t.Fatal(err)
		}
		version := r.GetVersion()
		r.LastChangeTriggerTime = timestamppb.New(time.Unix(rapid.Int64Range(1, 1<<33).Draw(t, "seconds"), 0))
		encoded, err := Encode(r)
		if err != nil || r.GetVersion() != version {
			t.Fatalf("version %x with a trigger time and %x without (%v)", r.GetVersion(), version, err)
		}
		var decoded discoveryv1.Resource
		if err := proto.Unmarshal(encoded, &decoded); err != nil || !proto.Equal(&decoded, r) {
			t.Fatalf("%v becomes %v (%v)", r, &decoded, err)
		}
	})
}

// TestAServiceComesAfterTheEndpointsThatItNeeds, and both after the configuration.
func TestAServiceComesAfterTheEndpointsThatItNeeds(t *testing.T) {
	if slices.Index(Kinds, discoveryv1.Kind_KIND_SERVICE) != len(Kinds)-1 || slices.Index(Kinds, discoveryv1.Kind_KIND_NODE_CONFIG) != 0 {
		t.Errorf("order %v", Kinds)
	}
}
