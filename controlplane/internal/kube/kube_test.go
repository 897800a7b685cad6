package kube

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func service(name, version string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, ResourceVersion: version},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0." + version, Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

func slice(version string, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "demo", Name: "web-1", ResourceVersion: version,
			Labels: map[string]string{discoveryv1.LabelServiceName: "web"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

// cidrsServed makes a fake API server say that it has ServiceCIDRs.
func cidrsServed(client *fake.Clientset) {
	client.Resources = append(client.Resources, &metav1.APIResourceList{
		GroupVersion: "networking.k8s.io/v1", APIResources: []metav1.APIResource{{Name: "ingresses"}, {Name: "servicecidrs"}},
	})
}

func start(client *fake.Clientset, log hclog.Logger) (*cluster.Store, context.CancelFunc) {
	store := cluster.NewStore()
	ctx, cancel := context.WithCancel(context.Background())
	s := newSource(client, Config{ClusterID: "c1", Logger: log, Writer: admission.NewWriter(store, hclog.NewNullLogger(), admission.DefaultLimits())})
	go s.run(ctx)
	synctest.Wait()
	return store, cancel
}

func TestRunFollowsTheAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		client := fake.NewClientset(service("web", "5"), slice("6", "10.0.0.1"),
			&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}},
			&networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "k"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/12"}}})
		cidrsServed(client)
		store, cancel := start(client, hclog.NewNullLogger())
		defer synctest.Wait()
		defer cancel()
		web := model.Key{Namespace: "demo", Name: "web"}
		if s, slices := store.Service(web); s == nil || len(slices) != 1 || store.Node("n1") == nil || len(store.ServiceCIDRs()) != 1 {
			t.Fatalf("Service %v, slices %v, node %v, CIDRs %v", s, slices, store.Node("n1"), store.ServiceCIDRs())
		}
		if changes := store.Take(); !changes.Synced {
			t.Error("not synced after all kinds were listed")
		}

		if _, err := client.DiscoveryV1().EndpointSlices("demo").Update(ctx, slice("77", "10.0.0.1", "10.0.0.2"), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, slices := store.Service(web); len(slices[0].Endpoints) != 2 {
			t.Errorf("endpoints %v", slices[0].Endpoints)
		}
		if v := store.Take().Version; v.Source != "kubernetes/c1" || v.EndpointSlices != 77 {
			t.Errorf("version %+v, want EndpointSlices 77 of kubernetes/c1", v)
		}

		if err := client.CoreV1().Services("demo").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s, _ := store.Service(web); s != nil {
			t.Errorf("Service %v after it was deleted", s)
		}
		for _, action := range client.Actions() {
			if verb := action.GetVerb(); verb != "list" && verb != "watch" && verb != "get" && !fromTest(action) {
				t.Errorf("the source asked for %s of %v", verb, action.GetResource())
			}
		}
	})
}

// fromTest tells the test's own writes.
func fromTest(action clienttesting.Action) bool {
	return action.Matches("update", "endpointslices") || action.Matches("delete", "services")
}

func TestRunDoesWithoutServiceCIDRs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, cancel := start(fake.NewClientset(), hclog.NewNullLogger())
		defer synctest.Wait()
		defer cancel()
		if !store.Take().Synced {
			t.Error("not synced with an API server that has no ServiceCIDRs")
		}
	})
}

func TestRunIsNotSyncedBeforeEveryKindIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		client := fake.NewClientset(service("web", "5"))
		cidrsServed(client)
		var up atomic.Bool
		client.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
			return !up.Load(), nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		})
		store, cancel := start(client, hclog.New(&hclog.LoggerOptions{Output: &out}))
		defer synctest.Wait()
		defer cancel()
		time.Sleep(time.Minute)
		if store.Take().Synced {
			t.Fatal("synced without Nodes")
		}
		up.Store(true)
		time.Sleep(time.Minute)
		if !store.Take().Synced {
			t.Error("not synced after Nodes were listed")
		}
		if n := strings.Count(out.String(), "does not deliver"); n != 1 {
			t.Errorf("the outage was logged %d times:\n%s", n, &out)
		}
		if n := strings.Count(out.String(), "delivers again"); n != 1 {
			t.Errorf("the end of the outage was logged %d times:\n%s", n, &out)
		}
	})
}

func TestReachLogsChangesOnly(t *testing.T) {
	var out bytes.Buffer
	r := &reach{log: hclog.New(&hclog.LoggerOptions{Output: &out}), kind: "Node"}
	forbidden := apierrors.NewForbidden(corev1.Resource("nodes"), "", errors.New("no"))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, step := range []struct {
		ctx   context.Context
		err   error
		lines int
	}{
		{context.Background(), nil, 0},
		{context.Background(), apierrors.NewResourceExpired("old"), 0},
		{context.Background(), errors.New("refused"), 1},
		{context.Background(), errors.New("refused, again"), 1},
		{context.Background(), forbidden, 2},
		{context.Background(), forbidden, 2},
		{context.Background(), nil, 3},
		{context.Background(), nil, 3},
		{ended, errors.New("context canceled"), 3},
	} {
		r.record(step.ctx, step.err)
		if lines := strings.Count(out.String(), "\n"); lines != step.lines {
			t.Errorf("after %v: %d lines, want %d:\n%s", step.err, lines, step.lines, &out)
		}
	}
}

func TestRunNamesAKubeconfigThatCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	err := Run(context.Background(), Config{Kubeconfig: path, Logger: hclog.NewNullLogger()})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "expected") {
		t.Errorf("error %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if err := Run(context.Background(), Config{Logger: hclog.NewNullLogger()}); err == nil || !strings.Contains(err.Error(), "expected to run in a pod") {
		t.Errorf("error %v", err)
	}
}
