package tlsflags

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"google.golang.org/grpc/health"
)

// authority is a CA that signs certificates into files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.key = a.newKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write("ca.crt", "CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// flags returns flags with a certificate that the CA has signed.
func (a *authority) flags(name string) Flags {
	key := a.newKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return Flags{CA: filepath.Join(a.dir, "ca.crt"), Cert: a.write(name+".crt", "CERTIFICATE", der), Key: a.write(name+".key", "EC PRIVATE KEY", keyDER)}
}

// ask connects a client to a server, each with its flags.
func ask(t *testing.T, serverFlags, clientFlags Flags) error {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := serverFlags.Server(listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials))
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	transport, err := clientFlags.Client([]string{listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(transport))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

func TestBothSidesMustBeSignedByTheCA(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	if err := ask(t, ours.flags("server"), ours.flags("client")); err != nil {
		t.Errorf("the same CA: %v", err)
	}
	foreign := theirs.flags("client")
	foreign.CA = ours.flags("x").CA
	if err := ask(t, ours.flags("server"), foreign); err == nil {
		t.Error("a client of another CA was let in")
	}
	if err := ask(t, theirs.flags("server"), ours.flags("client")); err == nil {
		t.Error("a server of another CA was believed")
	}
	if err := ask(t, ours.flags("server"), Flags{Insecure: true}); err == nil {
		t.Error("a client without a certificate was let in")
	}
	if err := ask(t, ours.flags("server"), Flags{CA: ours.flags("client").CA}); err == nil {
		t.Error("a client that knows the CA but has no certificate was let in")
	}
}

// TestAServerWithoutACAAsksForNoCertificate: who its clients are is shown by tokens then.
func TestAServerWithoutACAAsksForNoCertificate(t *testing.T) {
	authority := newAuthority(t)
	server := authority.flags("server")
	server.CA = ""
	client := Flags{CA: filepath.Join(authority.dir, "ca.crt")}
	if err := ask(t, server, client); err != nil {
		t.Error(err)
	}
	if client.ServerName = "portolan"; ask(t, server, client) == nil {
		t.Error("a certificate for another name was believed")
	}
}

// TestRenewedFilesNeedNoRestart of either side, whichever file it is.
func TestRenewedFilesNeedNoRestart(t *testing.T) {
	first, second := newAuthority(t), newAuthority(t)
	server, client := first.flags("server"), first.flags("client")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serverCredentials, err := server.Server(listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	clientCredentials, err := client.Client([]string{listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	serve := grpc.NewServer(grpc.Creds(serverCredentials))
	healthpb.RegisterHealthServer(serve, health.NewServer())
	go func() { _ = serve.Serve(listener) }()
	defer serve.Stop()
	check := func() error {
		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(clientCredentials))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		return err
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	renew := func(files, by Flags) {
		for from, to := range map[string]string{by.CA: files.CA, by.Cert: files.Cert, by.Key: files.Key} {
			content, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Both sides share the file of the CA.
	renew(server, second.flags("server"))
	if err := check(); err == nil {
		t.Error("a client of the old CA was let in by a server of the new one")
	}
	renew(client, second.flags("client"))
	if err := check(); err != nil {
		t.Errorf("after both were renewed: %v", err)
	}
}

func TestPlaintextBeyondLoopbackNeedsTheFlag(t *testing.T) {
	outside := &net.TCPAddr{IP: net.IPv4zero, Port: 9440}
	if _, err := (&Flags{}).Server(outside); err == nil || !strings.Contains(err.Error(), "--insecure") {
		t.Errorf("server: error %v", err)
	}
	if _, err := (&Flags{}).Client([]string{"127.0.0.1:9440", "192.0.2.1:9440"}); err == nil || !strings.Contains(err.Error(), "192.0.2.1:9440") {
		t.Errorf("client: error %v", err)
	}
	for _, local := range []net.Addr{&net.TCPAddr{IP: net.IPv6loopback}, &net.UnixAddr{Name: "x"}} {
		if _, err := (&Flags{}).Server(local); err != nil {
			t.Errorf("%v: %v", local, err)
		}
	}
	if _, err := (&Flags{}).Client([]string{"[::1]:9440", "localhost:1", "unix:/run/x"}); err != nil {
		t.Error(err)
	}
	if _, err := (&Flags{Insecure: true}).Server(outside); err != nil {
		t.Error(err)
	}
}

func TestFilesThatCannotBeUsedAreNamed(t *testing.T) {
	good := newAuthority(t).flags("server")
	for want, bad := range map[string]Flags{
		"--tls-ca-file: expected --tls-cert-file and --tls-key-file with it": {CA: good.CA},
		"expected both of --tls-cert-file and --tls-key-file, or neither":    {Cert: good.Cert},
		"--tls-ca-file /nowhere: open /nowhere":                              {CA: "/nowhere", Cert: good.Cert, Key: good.Key},
		"expected certificates in PEM":                                       {CA: good.Key, Cert: good.Cert, Key: good.Key},
		"--tls-cert-file " + good.Cert:                                       {CA: good.CA, Cert: good.Cert, Key: good.Cert},
	} {
		if _, err := bad.Server(&net.UnixAddr{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
