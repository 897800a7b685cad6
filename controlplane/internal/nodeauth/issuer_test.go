package nodeauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/go-hclog"
)

// issuer signs tokens as an API server does.
type issuer struct {
	t    testing.TB
	name string
	keys map[string]crypto.Signer
}

func newIssuer(t testing.TB, ids ...string) *issuer {
	i := &issuer{t: t, name: "https://kubernetes.default.svc", keys: map[string]crypto.Signer{}}
	for _, id := range ids {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		i.keys[id] = key
	}
	return i
}

// published is what the issuer publishes.
func (i *issuer) published() Published {
	var set jose.JSONWebKeySet
	for id, key := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		i.t.Fatal(err)
	}
	return Published{Issuer: i.name, JWKS: text}
}

// content is what a token of an agent's pod on node-a says.
func content(now time.Time) map[string]any {
	return map[string]any{
		"iss": "https://kubernetes.default.svc", "aud": []string{DefaultAudience}, "sub": "system:serviceaccount:portolan-system:portolan-agent",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{
			"namespace":      "portolan-system",
			"serviceaccount": map[string]any{"name": "portolan-agent", "uid": "sa-1"},
			"pod":            map[string]any{"name": "agent-x", "uid": "pod-1"},
			"node":           map[string]any{"name": "node-a", "uid": "node-1"},
		},
	}
}

func within(claims map[string]any) map[string]any { return claims["kubernetes.io"].(map[string]any) }

// sign signs claims with one of the issuer's keys.
func (i *issuer) sign(id string, claims map[string]any) string {
	i.t.Helper()
	return sign(i.t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.keys[id], KeyID: id}}, claims)
}

func sign(t testing.TB, key jose.SigningKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// unsigned is a token with algorithm "none".
func unsigned(t testing.TB, claims map[string]any) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(text) + "."
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	const bits = 2048
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keysOf returns keys that are read from what publish returns.
func keysOf(publish func() (Published, error), now func() time.Time) *Keys {
	return NewKeys(func(context.Context) (Published, error) { return publish() }, hclog.NewNullLogger(), now)
}
