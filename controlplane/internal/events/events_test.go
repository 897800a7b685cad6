package events_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	kubediscoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/events"
	"github.com/portolan-net/portolan/controlplane/internal/kube"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/nodes"
)

// rig is a recorder that writes to a fake API server, in fake time.
type rig struct {
	*events.Recorder
	t      *testing.T
	client *fake.Clientset
	log    *strings.Builder
}

// inBubble runs a test with a recorder and an API server that has a Service, its
// EndpointSlice and a Node.
func inBubble(t *testing.T, test func(r rig)) {
	synctest.Test(t, func(t *testing.T) {
		named := func(name string) metav1.ObjectMeta {
			return metav1.ObjectMeta{Namespace: "demo", Name: name, UID: types.UID("uid-of-" + name)}
		}
		client := fake.NewClientset(&corev1.Service{ObjectMeta: named("web")}, &kubediscoveryv1.EndpointSlice{ObjectMeta: named("web-1")},
			&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a", UID: "uid-of-node-a"}})
		r := rig{t: t, client: client, log: &strings.Builder{}}
		stop := r.start()
		defer stop()
		test(rig{r.Recorder, t, client, r.log})
	})
}

// start runs a recorder, as a replica of the control plane does.
func (r *rig) start() (stop func()) {
	r.Recorder = events.New(events.Config{
		API: kube.EventsOf(r.client), Instance: "replica-1", Now: time.Now,
		Logger: hclog.New(&hclog.LoggerOptions{Output: r.log, DisableTime: true}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

// written returns the Events of a namespace.
func (r *rig) written(namespace string) []eventsv1.Event {
	r.t.Helper()
	synctest.Wait()
	list, err := r.client.EventsV1().Events(namespace).List(r.t.Context(), metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return list.Items
}

func rejection(note string) model.Problem {
	return model.Problem{Object: "Service demo/web", Field: "spec.externalIPs[0]", Value: "x", Message: note}
}

func TestEventsSayWhatHappened(t *testing.T) {
	service := func(kind discoveryv1.Kind, name string) *discoveryv1.ResourceName {
		return &discoveryv1.ResourceName{Kind: kind, Name: name}
	}
	for name, c := range map[string]struct {
		say  func(r rig)
		want string
	}{
		"an agent's start": {func(r rig) {
			r.AgentStarted(nodes.Peer{Node: "node-a", AgentVersion: "v1", Instance: "i7"})
		}, "default Normal Starting Node v1 /node-a uid-of-node-a: portolan-agent v1 has started (instance i7)"},
		"a health check": {func(r rig) {
			r.NodeWarned("node-a", &discoveryv1.Warning{Name: service(discoveryv1.Kind_KIND_SERVICE, "demo/web"), Reason: "FailedToStartServiceHealthcheck", Message: "port 32000 taken"})
		}, "demo Warning FailedToStartServiceHealthcheck Service v1 demo/web uid-of-web: node node-a: port 32000 taken"},
		"a sysctl": {func(r rig) {
			r.NodeWarned("node-a", &discoveryv1.Warning{Name: service(discoveryv1.Kind_KIND_NODE_CONFIG, "node-a"), Reason: "FailedToSetSysctl", Message: "read-only"})
		}, "default Warning FailedToSetSysctl Node v1 /node-a uid-of-node-a: node node-a: read-only"},
		"a reason that is the node's own": {func(r rig) {
			r.NodeWarned("node-a", &discoveryv1.Warning{Name: service(discoveryv1.Kind_KIND_SERVICE, "demo/web"), Reason: "Deleted", Message: "m"})
		}, "demo Warning NodeWarned Service v1 demo/web uid-of-web: node node-a: m"},
		"a resource that a node rejects": {func(r rig) {
			r.NodeRejected("node-a", &discoveryv1.RejectedResource{Name: service(discoveryv1.Kind_KIND_ENDPOINT_SET, "demo/web-1"), Reason: "bad address"})
		}, "demo Warning NodeRejected EndpointSlice discovery.k8s.io/v1 demo/web-1 uid-of-web-1: node node-a: bad address"},
		"a problem": {func(r rig) {
			r.Problem(rejection("expected an IP address; the entry is ignored"))
		}, `demo Warning Rejected Service v1 demo/web uid-of-web: spec.externalIPs[0] "x": expected an IP address; the entry is ignored`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r rig) {
				c.say(r)
				list := r.written(metav1.NamespaceAll)
				if len(list) != 1 {
					t.Fatalf("%d Events, want one", len(list))
				}
				e := list[0]
				got := fmt.Sprintf("%s %s %s %s %s %s/%s %s: %s", e.Namespace, e.Type, e.Reason, e.Regarding.Kind, e.Regarding.APIVersion, e.Regarding.Namespace, e.Regarding.Name, e.Regarding.UID, e.Note)
				if got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				if e.ReportingController == "" || e.ReportingInstance != "replica-1" || e.Action == "" || e.EventTime.IsZero() {
					t.Errorf("the API would not take %+v", e)
				}
			})
		})
	}
}

func TestWhatIsNoObjectOfTheClusterHasNoEvent(t *testing.T) {
	inBubble(t, func(r rig) {
		r.Problem(model.Problem{Object: "file kube-proxy.yaml", Message: "m"})
		r.Problem(model.Problem{Object: "ServiceCIDR k", Message: "m"})
		r.NodeRejected("node-a", &discoveryv1.RejectedResource{Name: &discoveryv1.ResourceName{Kind: discoveryv1.Kind_KIND_CLUSTER_CONFIG, Name: "cluster"}})
		r.Problem(model.Problem{Object: "Service demo/gone", Message: "m"})
		if list := r.written(metav1.NamespaceAll); len(list) != 0 {
			t.Errorf("written %v", list)
		}
		if stats := r.Stats(); stats.Dropped != 1 || stats.Failed != 0 || r.log.Len() > 0 {
			t.Errorf("%+v, logged %s: that an object is gone is no failure", stats, r.log)
		}
	})
}

func TestARepeatedEventIsOneThatCounts(t *testing.T) {
	inBubble(t, func(r rig) {
		for range 120 {
			r.Problem(rejection("m"))
			time.Sleep(10 * time.Second)
		}
		list := r.written("demo")
		if len(list) != 1 || list[0].Series == nil || list[0].Series.Count < 90 || list[0].Series.Count > 120 {
			t.Fatalf("Events %+v", list)
		}
		requests := 0
		for _, action := range r.client.Actions() {
			if action.GetVerb() != "list" {
				requests++
			}
		}
		if requests > 6 {
			t.Errorf("%d requests in 20 minutes", requests)
		}
	})
}

func TestAnEventThatTheServerHasForgottenIsWrittenAnew(t *testing.T) {
	inBubble(t, func(r rig) {
		r.Problem(rejection("m"))
		name := r.written("demo")[0].Name
		if err := r.client.EventsV1().Events("demo").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Minute)
		r.Problem(rejection("m"))
		if list := r.written("demo"); len(list) != 1 || list[0].Name != name {
			t.Errorf("Events %v", list)
		}
	})
}

func TestReplicasThatSeeTheSameWriteItOnce(t *testing.T) {
	inBubble(t, func(r rig) {
		other := r
		stop := other.start()
		defer stop()
		r.Problem(rejection("m"))
		other.Problem(rejection("m"))
		if list := r.written("demo"); len(list) != 1 {
			t.Errorf("%d Events, want one", len(list))
		}
		for _, stats := range []events.Stats{r.Stats(), other.Stats()} {
			if stats.Written != 1 || stats.Failed != 0 {
				t.Errorf("%+v: that the Event is there is success", stats)
			}
		}
	})
}

func TestOneObjectCannotFloodTheServer(t *testing.T) {
	inBubble(t, func(r rig) {
		for i := range 1000 {
			r.Problem(rejection(fmt.Sprint("value ", i)))
		}
		r.AgentStarted(nodes.Peer{Node: "node-a"})
		if n := len(r.written("demo")); n != 10 {
			t.Errorf("%d Events of one object, want 10", n)
		}
		if n := len(r.written("default")); n != 1 {
			t.Error("another object has no Event")
		}
		time.Sleep(time.Hour)
		r.Problem(rejection("later"))
		if n := len(r.written("demo")); n != 11 {
			t.Errorf("%d Events of one object an hour later, want 11", n)
		}
	})
}

func TestManyObjectsCannotFloodTheServer(t *testing.T) {
	inBubble(t, func(r rig) {
		for i := range 3000 {
			name := fmt.Sprint("n", i)
			if err := r.client.Tracker().Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
				t.Fatal(err)
			}
			r.AgentStarted(nodes.Peer{Node: name})
		}
		if n := len(r.written("default")); n != 50 {
			t.Errorf("%d Events at once, want 50", n)
		}
		time.Sleep(10 * time.Second)
		if n := len(r.written("default")); n < 99 || n > 101 {
			t.Errorf("%d Events in 10 s, want 100", n)
		}
		time.Sleep(time.Hour)
		if n, stats := len(r.written("default")), r.Stats(); n > 1100 || stats.Dropped < 1900 {
			t.Errorf("%d Events of a queue of 1000, %+v", n, stats)
		}
	})
}

func TestAServerThatTakesNoEventsIsSaidOnceAndHoldsNothingUp(t *testing.T) {
	inBubble(t, func(r rig) {
		down := true
		r.client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
			if down {
				return true, nil, apierrors.NewServiceUnavailable("down")
			}
			return false, nil, nil
		})
		for i := range 5 {
			r.Problem(rejection(fmt.Sprint(i)))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if stats := r.Stats(); stats.Failed != 5 || strings.Count(r.log.String(), "cannot write Events") != 1 {
			t.Errorf("%+v, logged %s", stats, r.log)
		}
		down = false
		r.Problem(rejection("0"))
		if list := r.written("demo"); len(list) != 1 {
			t.Errorf("Events %v: what failed is written when it happens again", list)
		}
	})
}

func TestWhatMayNotBeWrittenIsNotTriedAgain(t *testing.T) {
	inBubble(t, func(r rig) {
		tried := 0
		r.client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
			tried++
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", nil)
		})
		r.Problem(rejection("m"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if tried != 1 {
			t.Errorf("tried %d times", tried)
		}
	})
}

func TestTheAPIsBoundsAreKept(t *testing.T) {
	inBubble(t, func(r rig) {
		r.Problem(rejection(strings.Repeat("é", 2000)))
		if list := r.written("demo"); len(list) != 1 || len(list[0].Note) > 1024 || len(list[0].Name) > 253 {
			t.Errorf("Events %v", list)
		}
	})
}
