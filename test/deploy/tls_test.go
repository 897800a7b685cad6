package deploy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
)

// generated returns what Helm made: the certificate with its key, and who signs.
func (r rendered) generated() (*corev1.Secret, *corev1.ConfigMap) {
	r.Helper()
	secret, _ := r.objects["Secret portolan-tls"].(*corev1.Secret)
	authority, _ := r.objects["ConfigMap portolan-ca"].(*corev1.ConfigMap)
	if secret == nil || authority == nil {
		r.Fatal("there is no Secret portolan-tls or no ConfigMap portolan-ca")
	}
	return secret, authority
}

// TestAgentsTakeTheCertificateThatHelmMakes, and get nothing that is secret.
func TestAgentsTakeTheCertificateThatHelmMakes(t *testing.T) {
	r := rendering(t, documents(t, servers))
	secret, authority := r.generated()
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(authority.Data["ca.crt"])) {
		t.Fatalf("no certificate in %q", authority.Data["ca.crt"])
	}
	expected := ""
	for _, arg := range template(r.objects["DaemonSet portolan-agent"]).Spec.Containers[0].Args {
		if name, found := strings.CutPrefix(arg, "--tls-server-name="); found {
			expected = name
		}
	}
	for _, name := range []string{expected, "portolan-controlplane." + namespace + ".svc", "localhost"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); name == "" || err != nil {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if len(authority.Data) != 1 || strings.Contains(authority.Data["ca.crt"], "PRIVATE KEY") || len(secret.Data) != 2 {
		t.Error("the authority's key is kept, or agents get a key")
	}
}

// cluster is one that has objects, as Helm asks it.
type cluster struct{ client dynamic.Interface }

func (c cluster) GetClientFor(version, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	resource := schema.FromAPIVersionAndKind(version, kind).GroupVersion().WithResource(strings.ToLower(kind) + "s")
	return c.client.Resource(resource), true, nil
}

func upgrade(t *testing.T, have ...runtime.Object) rendered {
	t.Helper()
	values, err := Parse(servers)
	if err != nil {
		t.Fatal(err)
	}
	list, err := RenderIn(cluster{fake.NewSimpleDynamicClient(scheme.Scheme, have...)}, values, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return rendering(t, list)
}

// TestAnUpgradeKeepsTheCertificate, so that no agent is without a control plane because of it.
func TestAnUpgradeKeepsTheCertificate(t *testing.T) {
	secret, authority := upgrade(t).generated()
	kept, keptAuthority := upgrade(t, secret, authority).generated()
	if !bytes.Equal(kept.Data["tls.crt"], secret.Data["tls.crt"]) || !bytes.Equal(kept.Data["tls.key"], secret.Data["tls.key"]) {
		t.Error("an upgrade makes a new certificate")
	}
	if strings.TrimSpace(keptAuthority.Data["ca.crt"]) != strings.TrimSpace(authority.Data["ca.crt"]) {
		t.Error("an upgrade makes a new authority")
	}
	// Half of it is of no use: its other half cannot be found again.
	if fresh, _ := upgrade(t, secret).generated(); bytes.Equal(fresh.Data["tls.crt"], secret.Data["tls.crt"]) {
		t.Error("a certificate is kept that nobody can verify")
	}
}
