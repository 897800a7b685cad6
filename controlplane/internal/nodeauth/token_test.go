package nodeauth

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var policy = Policy{Audience: DefaultAudience, ServiceAccount: DefaultServiceAccount}

// TestATokenMustSayWhatIsExpected: each has one thing that is not so.
func TestATokenMustSayWhatIsExpected(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	i, other := newIssuer(t, "k1"), newIssuer(t, "k1", "k2")
	with := func(change func(claims, k8s map[string]any)) string {
		claims := content(now)
		change(claims, within(claims))
		return i.sign("k1", claims)
	}
	public, err := x509.MarshalPKIXPublicKey(i.keys["k1"].Public().(*ecdsa.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	good := i.sign("k1", content(now))
	parts := strings.Split(good, ".")
	forged := strings.Split(with(func(_, k map[string]any) { k["node"] = map[string]any{"name": "node-b"} }), ".")
	for name, test := range map[string]struct{ token, want string }{
		"good":                  {good, ""},
		"ended a moment ago":    {with(func(c, _ map[string]any) { c["exp"] = now.Add(-20 * time.Second).Unix() }), ""},
		"begins in a moment":    {with(func(c, _ map[string]any) { c["nbf"] = now.Add(20 * time.Second).Unix() }), ""},
		"for several audiences": {with(func(c, _ map[string]any) { c["aud"] = []string{"x", DefaultAudience} }), ""},
		"for another audience":  {with(func(c, _ map[string]any) { c["aud"] = []string{"https://kubernetes.default.svc"} }), `audience ["https://kubernetes.default.svc"]: expected "portolan.control-plane"`},
		"for no audience":       {with(func(c, _ map[string]any) { delete(c, "aud") }), "audience []"},
		"of another issuer":     {with(func(c, _ map[string]any) { c["iss"] = "https://elsewhere" }), `issuer "https://elsewhere": expected "https://kubernetes.default.svc"`},
		"expired":               {with(func(c, _ map[string]any) { c["exp"] = now.Add(-time.Minute).Unix() }), "expired at 2026-11-26T11:59:00Z"},
		"without an end":        {with(func(c, _ map[string]any) { delete(c, "exp") }), "no expiry"},
		"not yet valid":         {with(func(c, _ map[string]any) { c["nbf"] = now.Add(time.Minute).Unix() }), "not valid before"},
		"issued in the future":  {with(func(c, _ map[string]any) { c["iat"] = now.Add(time.Hour).Unix() }), "issued at"},
		"of another service account": {with(func(c, k map[string]any) {
			c["sub"] = "system:serviceaccount:portolan-system:default"
			k["serviceaccount"] = map[string]any{"name": "default"}
		}), `subject "system:serviceaccount:portolan-system:default"`},
		"of another namespace": {with(func(c, k map[string]any) {
			c["sub"] = "system:serviceaccount:tenant:portolan-agent"
			k["namespace"] = "tenant"
		}), `subject "system:serviceaccount:tenant:portolan-agent"`},
		"that contradicts itself":       {with(func(_, k map[string]any) { k["namespace"] = "tenant" }), "subject"},
		"bound to no pod":               {with(func(_, k map[string]any) { delete(k, "pod") }), "bound to no pod"},
		"that names no node":            {with(func(_, k map[string]any) { delete(k, "node") }), "names no node"},
		"that is not signed":            {unsigned(t, content(now)), "expected a signed ServiceAccount token"},
		"signed with the public key":    {sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: public}, content(now)), "expected a signed ServiceAccount token"},
		"signed with another key":       {other.sign("k1", content(now)), "signature"},
		"signed with an unknown key":    {other.sign("k2", content(now)), `key "k2": expected one that the cluster publishes`},
		"with another's signature":      {forged[0] + "." + forged[1] + "." + parts[2], "signature"},
		"without a signature":           {parts[0] + "." + parts[1] + ".", "signature"},
		"that is no token":              {"secret", "expected a signed ServiceAccount token"},
		"that is empty":                 {"", "expected a signed ServiceAccount token"},
		"that is too long":              {strings.Repeat("a", maxToken+1), "expected at most"},
		"signed by RSA with another id": {sign(t, jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: rsaKey(t), KeyID: "k1"}}, content(now)), "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			clock := func() time.Time { return now }
			v := NewVerifier(policy, keysOf(func() (Published, error) { return i.published(), nil }, clock), clock)
			identity, err := v.Verify(t.Context(), test.token)
			if test.want == "" {
				if err != nil || identity.Node != "node-a" || identity.Pod != "portolan-system/agent-x" || identity.PodUID != "pod-1" {
					t.Errorf("%+v, %v", identity, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v, %v: want %q", identity, err, test.want)
			}
			if err != nil && len(test.token) > 20 && strings.Contains(err.Error(), test.token) {
				t.Error("the error has the token")
			}
		})
	}
}

// TestKeysAreFollowed: they are rotated, cannot be read for a while, are not read yet.
func TestKeysAreFollowed(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	old, both, renewed := newIssuer(t, "k1"), newIssuer(t, "k2"), newIssuer(t)
	both.keys["k1"] = old.keys["k1"]
	renewed.keys["k2"] = both.keys["k2"]
	var published *issuer
	reads := 0
	v := NewVerifier(policy, keysOf(func() (Published, error) {
		if reads++; published == nil {
			return Published{}, errors.New("the API server is away")
		}
		return published.published(), nil
	}, clock), clock)
	verify := func(i *issuer, id string) error {
		_, err := v.Verify(t.Context(), i.sign(id, content(now)))
		return err
	}
	if err := verify(old, "k1"); !errors.Is(err, ErrNoKeys) {
		t.Errorf("before the keys are read: %v", err)
	}
	published, now = old, now.Add(keysAgain)
	if err := verify(old, "k1"); err != nil {
		t.Errorf("after they are read: %v", err)
	}
	published = nil
	now = now.Add(time.Hour)
	if err := verify(old, "k1"); err != nil {
		t.Errorf("while they cannot be read: %v", err)
	}
	published, now = both, now.Add(keysAgain)
	if err := verify(both, "k2"); err != nil {
		t.Errorf("a new key: %v", err)
	}
	before := reads
	for range 100 {
		if err := verify(newIssuer(t, "forged"), "forged"); err == nil {
			t.Fatal("a forged key is taken")
		}
	}
	if reads-before > 1 {
		t.Errorf("%d forged tokens have the keys read %d times", 100, reads-before)
	}
	published = renewed
	if err := v.keys.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := verify(old, "k1"); err == nil {
		t.Error("a key that was withdrawn is taken")
	}
}

func TestWhatIsPublishedMustBeKeys(t *testing.T) {
	i := newIssuer(t, "k1")
	private := []byte(`{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0"}]}`)
	for name, p := range map[string]Published{
		"no issuer": {JWKS: i.published().JWKS}, "no keys": {Issuer: "x", JWKS: []byte(`{"keys":[]}`)},
		"no JSON": {Issuer: "x", JWKS: []byte("<html>")},
	} {
		if err := keysOf(func() (Published, error) { return p, nil }, time.Now).refresh(t.Context()); err == nil {
			t.Errorf("%s: expected an error", name)
		}
	}
	k := keysOf(func() (Published, error) { return Published{Issuer: "x", JWKS: private}, nil }, time.Now)
	if set, err := k.Of(t.Context(), "k1"); err != nil || len(set.keys) != 0 {
		t.Errorf("a symmetric key is taken for one to verify with: %v, %v", set, err)
	}
}

func TestAPolicyMustBeComplete(t *testing.T) {
	for _, bad := range []Policy{{}, {Audience: "x"}, {Audience: "x", ServiceAccount: "agent"}, {Audience: "x", ServiceAccount: "a/b/c"}, {ServiceAccount: "a/b"}} {
		if bad.Check() == nil {
			t.Errorf("%+v: expected an error", bad)
		}
	}
	if err := policy.Check(); err != nil {
		t.Error(err)
	}
}

// FuzzVerify: whatever a peer sends is refused, without a crash.
func FuzzVerify(f *testing.F) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	i := newIssuer(f, "k1")
	clock := func() time.Time { return now }
	v := NewVerifier(policy, keysOf(func() (Published, error) { return i.published(), nil }, clock), clock)
	good := i.sign("k1", content(now))
	for _, seed := range []string{"", "a.b.c", unsigned(f, content(now)), good[:len(good)-4]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := v.Verify(t.Context(), token); err == nil && token != good {
			// ECDSA signatures are malleable in encoding only where base64 is: the claims are the same.
			if strings.Join(strings.Split(token, ".")[:2], ".") != strings.Join(strings.Split(good, ".")[:2], ".") {
				t.Errorf("%q is taken", token)
			}
		}
	})
}
