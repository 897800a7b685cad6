// Package pki makes certificates, and tokens as an API server signs them.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Authority is a CA that signs certificates into files of a directory.
type Authority struct {
	// CA is the file with its certificate.
	CA string

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes a CA.
func NewAuthority(dir string) (*Authority, error) {
	a := &Authority{dir: dir, CA: filepath.Join(dir, "ca.crt")}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, write(a.CA, "CERTIFICATE", der)
}

// Sign makes a certificate for a name and, if it is a server's, an address. It returns the
// files of the certificate and its key.
func (a *Authority) Sign(name, address string, until time.Time) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if address != "" {
		template.IPAddresses, template.DNSNames = []net.IP{net.ParseIP(address)}, []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		return "", "", err
	}
	encoded, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return "", "", err
	}
	base := filepath.Join(a.dir, fmt.Sprintf("%s-%d", name, until.Unix()))
	if err := write(base+".crt", "CERTIFICATE", der); err != nil {
		return "", "", err
	}
	return base + ".crt", base + ".key", write(base+".key", "EC PRIVATE KEY", encoded)
}

func write(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// Token is a token taken apart.
type Token struct {
	Header, Claims map[string]any
}

// Parse takes a token apart.
func Parse(text string) (Token, error) {
	var t Token
	const length = 3 // Header, claims, signature.
	parts := strings.Split(text, ".")
	if len(parts) != length {
		return t, fmt.Errorf("a token of %d parts: expected %d", len(parts), length)
	}
	for i, into := range []*map[string]any{&t.Header, &t.Claims} {
		content, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return t, err
		}
		if err := json.Unmarshal(content, into); err != nil {
			return t, err
		}
	}
	return t, nil
}

// Sign signs the token (RFC 7515, ES256) with the key in a file.
func (t Token) Sign(keyFile string) (string, error) {
	content, err := os.ReadFile(keyFile)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(content)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return "", err
	}
	signed, err := t.unsigned()
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, hash[:])
	if err != nil {
		return "", err
	}
	const half = 32
	signature := append(r.FillBytes(make([]byte, half)), s.FillBytes(make([]byte, half))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// Unsigned is the token with an empty signature.
func (t Token) Unsigned() (string, error) {
	text, err := t.unsigned()
	return text + ".", err
}

func (t Token) unsigned() (string, error) {
	header, err := json.Marshal(t.Header)
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(t.Claims)
	return base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims), err
}
