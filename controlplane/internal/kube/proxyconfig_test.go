package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestTheConfigurationOfKubeProxyIsReadFromWhereKubeadmPutsIt(t *testing.T) {
	for name, test := range map[string]struct {
		data map[string]string
		want string
	}{
		"it is there":   {map[string]string{"config.conf": "mode: ipvs", "kubeconfig.conf": "x"}, "mode: ipvs"},
		"it is not":     {nil, "the cluster has no ConfigMap kube-system/kube-proxy: expected the one that kubeadm makes"},
		"it is another": {map[string]string{"b": "", "a": ""}, `ConfigMap kube-system/kube-proxy: expected a key "config.conf"; it has ["a" "b"]`},
	} {
		client := fake.NewClientset()
		if test.data != nil {
			client = fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-proxy"}, Data: test.data})
		}
		content, err := proxyConfiguration(t.Context(), client)
		got := string(content)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestAKubeconfigThatIsNotThereIsNamed(t *testing.T) {
	_, err := ProxyConfiguration(t.Context(), "nowhere")
	if err == nil || !strings.Contains(err.Error(), "kubeconfig nowhere: expected a readable kubeconfig file with a current context") {
		t.Error(err)
	}
}
