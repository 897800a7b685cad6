package e2e_test

import (
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"github.com/portolan-net/portolan/test/e2e/internal/apiserver"
	"github.com/portolan-net/portolan/test/e2e/internal/lab"
)

// TestTheManifestsAreTaken by a real API server, without an unknown field, and have every object
// that they are to have.
func TestTheManifestsAreTaken(t *testing.T) {
	need(lab.NewNode())(t) // With whose loopback the API server listens.
	server := need(apiserver.Start(t.Context(), t.TempDir(), "--request-timeout=3s"))(t)
	t.Cleanup(server.Stop)
	client := need(dynamic.NewForConfig(need(server.Config())(t)))(t)
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(server.Client.Discovery()))
	kinds := map[string]int{}
	for _, document := range strings.Split(string(need(os.ReadFile("../../deploy/manifests/portolan.yaml"))(t)), "\n---\n") {
		var object unstructured.Unstructured
		check(t, yaml.Unmarshal([]byte(document), &object.Object))
		if len(object.Object) == 0 {
			continue
		}
		kind := object.GroupVersionKind()
		mapping, err := mapper.RESTMapping(schema.GroupKind{Group: kind.Group, Kind: kind.Kind}, kind.Version)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		to := dynamic.ResourceInterface(client.Resource(mapping.Resource))
		if object.GetNamespace() != "" {
			to = client.Resource(mapping.Resource).Namespace(object.GetNamespace())
		}
		if _, err := to.Create(t.Context(), &object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
			t.Errorf("%s %s: %v", kind.Kind, object.GetName(), err)
		}
		kinds[kind.Kind]++
	}
	for kind, n := range map[string]int{
		"Namespace": 1, "Deployment": 1, "DaemonSet": 1, "ServiceAccount": 2, "ClusterRole": 3, "ClusterRoleBinding": 1,
		"ConfigMap": 1, "Service": 1, "PodDisruptionBudget": 1, "NetworkPolicy": 1,
	} {
		if kinds[kind] != n {
			t.Errorf("%d of kind %s, want %d", kinds[kind], kind, n)
		}
	}
}
