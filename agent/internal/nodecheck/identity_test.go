package nodecheck

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portolan-net/portolan/api/check"
)

// certificate makes one that signs itself, for "controlplane".
func certificate(t *testing.T, begins, ends time.Time) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "controlplane"}, DNSNames: []string{"controlplane"},
		NotBefore: begins, NotAfter: ends, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const day = 24 * time.Hour

func TestCertificatesAndTheirEnds(t *testing.T) {
	_, good := certificate(t, now.Add(-day), now.Add(100*day))
	_, old := certificate(t, now.Add(-2*day), now.Add(-day))
	for name, test := range map[string]struct {
		begins, ends time.Time
		outcome      check.Outcome
		message      string
	}{
		"good":   {now.Add(-day), now.Add(100 * day), check.Pass, "is valid until"},
		"soon":   {now.Add(-day), now.Add(29 * day), check.Warn, "expected more than 30 days"},
		"ended":  {now.Add(-2 * day), now.Add(-day), check.Fail, "ended at"},
		"future": {now.Add(day), now.Add(2 * day), check.Fail, "expected clocks that agree"},
	} {
		_, text := certificate(t, test.begins, test.ends)
		says(t, name, find(t, Config{CAFile: file(t, text)}, "tls-ca"), test.outcome, test.message)
	}
	// Of a bundle one that is good is enough; of a chain all must be.
	both := file(t, append(old, good...))
	says(t, "bundle", find(t, Config{CAFile: both}, "tls-ca"), check.Pass, "")
	says(t, "chain", find(t, Config{CertFile: both}, "tls-certificate"), check.Fail, "ended at")
	says(t, "not PEM", find(t, Config{CAFile: file(t, []byte("x"))}, "tls-ca"), check.Fail, "expected certificates in PEM")
	says(t, "nowhere", find(t, Config{CAFile: "nowhere"}, "tls-ca"), check.Fail, "no such file")
	says(t, "none", find(t, Config{}, "tls-ca"), check.Skip, "--agent-tls-ca-file")
	says(t, "none", find(t, Config{}, "tls-certificate"), check.Skip, "agents show tokens")
}

// token makes one with claims; nobody has signed it.
func token(t *testing.T, claims map[string]any) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, []byte("e30."+base64.RawURLEncoding.EncodeToString(text)+".c2lnbmF0dXJl\n"))
}

func TestClaimsOfTheToken(t *testing.T) {
	config := Config{Node: "node-a", Audience: "portolan.control-plane", ServiceAccount: "portolan-system/portolan-agent"}
	good := func() map[string]any {
		return map[string]any{
			"aud": []string{"portolan.control-plane"}, "sub": "system:serviceaccount:portolan-system:portolan-agent",
			"exp": now.Add(time.Hour).Unix(), "iat": now.Add(-time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(),
			"kubernetes.io": map[string]any{"pod": map[string]any{"name": "p"}, "node": map[string]any{"name": "node-a"}},
		}
	}
	for _, test := range []struct {
		id      string
		claim   string
		value   any
		outcome check.Outcome
		message string
	}{
		{"token-file", "", nil, check.Pass, "has a token"},
		{"token-lifetime", "", nil, check.Pass, "valid until 2026-11-26T13:00:00Z"},
		{"token-lifetime", "exp", now.Add(-time.Minute).Unix(), check.Fail, "ended at 2026-11-26T11:59:00Z"},
		{"token-lifetime", "exp", 0, check.Fail, "has no end"},
		{"token-clock", "", nil, check.Pass, "not ahead"},
		{"token-clock", "iat", now.Add(time.Minute).Unix(), check.Fail, "1m0s ahead of this node's clock: expected less than 30s"},
		{"token-audience", "", nil, check.Pass, ""},
		{"token-audience", "aud", "portolan.control-plane", check.Pass, ""},
		{"token-audience", "aud", []string{"https://kubernetes.default.svc"}, check.Fail, `["https://kubernetes.default.svc"]: expected "portolan.control-plane"`},
		{"token-account", "", nil, check.Pass, ""},
		{"token-account", "sub", "system:serviceaccount:default:default", check.Fail, `expected "system:serviceaccount:portolan-system:portolan-agent"`},
		{"token-node", "", nil, check.Pass, `names node "node-a"`},
		{"token-node", "kubernetes.io", map[string]any{}, check.Fail, "bound to no pod"},
		{"token-node", "kubernetes.io", map[string]any{"pod": map[string]any{"name": "p"}}, check.Fail, "names no node"},
		{"token-node", "kubernetes.io", map[string]any{"pod": map[string]any{"name": "p"}, "node": map[string]any{"name": "node-b"}}, check.Fail, `names node "node-b": expected "node-a"`},
	} {
		claims := good()
		if test.claim != "" {
			claims[test.claim] = test.value
		}
		config.TokenFile = token(t, claims)
		says(t, test.id, find(t, config, test.id), test.outcome, test.message)
	}
}

// TestATokenIsNeverSaid whatever is wrong with it.
func TestATokenIsNeverSaid(t *testing.T) {
	for name, text := range map[string]string{"one part": "c2VjcmV0", "not base64": "a.secret!.c", "not JSON": "a.c2VjcmV0.c", "another type": "a." + base64.RawURLEncoding.EncodeToString([]byte(`{"aud":7}`)) + ".c"} {
		found := find(t, Config{TokenFile: file(t, []byte(text))}, "token-file")
		says(t, name, found, check.Fail, "expected a token of a ServiceAccount")
		if strings.Contains(found.Message, "secret") || strings.Contains(found.Message, "c2VjcmV0") {
			t.Errorf("%s: %s", name, found.Message)
		}
		says(t, name, find(t, Config{TokenFile: file(t, []byte(text))}, "token-node"), check.Skip, "cannot be read")
	}
	says(t, "nowhere", find(t, Config{TokenFile: "nowhere"}, "token-file"), check.Fail, "no such file")
	says(t, "none", find(t, Config{}, "token-file"), check.Skip, "--agent-token-file")
	says(t, "none", find(t, Config{}, "token-node"), check.Skip, "--agent-token-file")
}

func TestControlPlanesAreReached(t *testing.T) {
	loopback(t)
	pair, ca := certificate(t, time.Now().Add(-day), time.Now().Add(100*day))
	soon, soonCA := certificate(t, time.Now().Add(-day), time.Now().Add(day))
	serve := func(pair tls.Certificate) string {
		listening, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listening.Close() })
		go func() {
			for {
				connection, err := listening.Accept()
				if err != nil {
					return
				}
				go func(c net.Conn) { _ = c.(*tls.Conn).Handshake() }(connection)
			}
		}()
		return listening.Addr().String()
	}
	up, ending, down := serve(pair), serve(soon), "127.0.0.1:1"
	config := Config{Servers: []string{up}, CAFile: file(t, append(ca, soonCA...)), ServerName: "controlplane", Now: time.Now, Node: "node-a"}
	says(t, "up", find(t, config, "controlplane-reachable"), check.Pass, "1 of 1 can be connected to")
	says(t, "up", find(t, config, "controlplane-tls"), check.Pass, "1 of 1 show a certificate that is trusted")
	config.Servers = []string{up, down}
	says(t, "one is down", find(t, config, "controlplane-reachable"), check.Warn, "1 of 2 can be connected to: 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused")
	config.Servers = []string{down}
	says(t, "down", find(t, config, "controlplane-reachable"), check.Fail, "none of 1 can be connected to")
	config.Servers = []string{ending}
	says(t, "ends soon", find(t, config, "controlplane-tls"), check.Fail, "expected more than 30 days")
	config.Servers, config.ServerName = []string{up}, "other"
	says(t, "another name", find(t, config, "controlplane-tls"), check.Fail, "certificate is valid for controlplane, not other")
	config.ServerName, config.CAFile = "controlplane", file(t, soonCA)
	says(t, "another CA", find(t, config, "controlplane-tls"), check.Fail, "unknown authority")

	config.Configure = func(context.Context) error { return errors.New("no control plane has\nhad a configuration") }
	says(t, "unknown", find(t, config, "controlplane-configuration"), check.Fail, "no control plane has had a configuration")
	config.Configure = func(context.Context) error { return nil }
	says(t, "known", find(t, config, "controlplane-configuration"), check.Pass, `"node-a"`)
	for _, id := range []string{"controlplane-addresses", "controlplane-reachable", "controlplane-tls", "controlplane-configuration"} {
		says(t, id, find(t, Config{CAFile: config.CAFile}, id), check.Skip, "--agent-server")
	}
}

func TestAgentsMustNotNeedTheDNSThatTheyMakeWork(t *testing.T) {
	for server, want := range map[string]struct {
		outcome check.Outcome
		message string
	}{
		"192.0.2.1:9440":                            {check.Pass, "192.0.2.1:9440"},
		"[2001:db8::1]:9440":                        {check.Pass, ""},
		"localhost:9440":                            {check.Pass, ""},
		"controlplane.portolan-system.svc:9440":     {check.Fail, "is a name of the cluster's DNS"},
		"a.portolan-system.svc.cluster.local.:9440": {check.Fail, "is a name of the cluster's DNS"},
		"192.0.2.1":                                 {check.Fail, "expected host:port"},
	} {
		says(t, server, find(t, Config{Servers: []string{server}}, "controlplane-addresses"), want.outcome, want.message)
	}
}
