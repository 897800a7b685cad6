package nodeauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Identity is who a peer has shown to be.
type Identity struct {
	// Node is the name of the Node that it runs on.
	Node string
	// Pod is "namespace/name", and PodUID its UID; empty if a certificate was shown.
	Pod, PodUID string
	// Until is when what was shown ends to be valid.
	Until time.Time
	// token is what the API server is asked about; empty if a certificate was shown.
	token string
	// trusted may have any node's view.
	trusted bool
}

// Policy is what a token must say.
type Policy struct {
	// Audience is whom the token is for.
	Audience string
	// ServiceAccount is "namespace/name" of the agents'.
	ServiceAccount string
}

const (
	// DefaultAudience is what the chart has tokens made for.
	DefaultAudience = "portolan.control-plane"
	// DefaultServiceAccount is the agents' in the chart's default namespace.
	DefaultServiceAccount = "portolan-system/portolan-agent"
)

// Check tells what is wrong with a policy.
func (p Policy) Check() error {
	if p.Audience == "" {
		return errors.New("audience of agents' tokens: expected a name")
	}
	if namespace, name, found := strings.Cut(p.ServiceAccount, "/"); !found || namespace == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("service account of agents %q: expected NAMESPACE/NAME", p.ServiceAccount)
	}
	return nil
}

const (
	// leeway is by how much clocks may differ.
	leeway = 30 * time.Second
	// maxToken bounds what is parsed. Tokens of ServiceAccounts have about 1 KiB.
	maxToken = 16 << 10
)

// algorithms are those that an API server signs with (pkg/serviceaccount/jwt.go); no
// symmetric one, for which the published key would be the secret, and not "none".
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	policy Policy
	keys   *Keys
	now    func() time.Time
}

// NewVerifier returns a verifier of tokens signed by keys.
func NewVerifier(policy Policy, keys *Keys, now func() time.Time) *Verifier {
	return &Verifier{policy: policy, keys: keys, now: now}
}

// claims are what is looked at in a token.
type claims struct {
	jwt.Claims
	Kubernetes struct {
		Namespace      string `json:"namespace"`
		ServiceAccount named  `json:"serviceaccount"`
		Pod            named  `json:"pod"`
		Node           named  `json:"node"`
	} `json:"kubernetes.io"`
}

type named struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// Verify returns who the bearer of a token is. The error says which claim is not as
// expected; it never has the token. ErrNoKeys means that nobody can be verified yet.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	if len(token) > maxToken {
		return Identity{}, fmt.Errorf("token of %d bytes: expected at most %d", len(token), maxToken)
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return Identity{}, fmt.Errorf("expected a signed ServiceAccount token: %w", err)
	}
	keyID := parsed.Headers[0].KeyID
	set, err := v.keys.Of(ctx, keyID)
	if err != nil {
		return Identity{}, err
	}
	var c claims
	if err := verified(parsed, set.keys, &c); err != nil {
		return Identity{}, err
	}
	if err := v.check(&c, set.issuer); err != nil {
		return Identity{}, err
	}
	k := c.Kubernetes
	return Identity{
		Node: k.Node.Name, Pod: k.Namespace + "/" + k.Pod.Name, PodUID: k.Pod.UID,
		Until: c.Expiry.Time(), token: token,
	}, nil
}

// verified decodes the claims of a token that one of the keys has signed.
func verified(token *jwt.JSONWebToken, keys []jose.JSONWebKey, into *claims) error {
	if len(keys) == 0 {
		return fmt.Errorf("signed with key %q: expected one that the cluster publishes", token.Headers[0].KeyID)
	}
	var err error
	for _, key := range keys {
		if err = token.Claims(key.Key, into); err == nil {
			return nil
		}
	}
	return fmt.Errorf("signature: %w", err)
}

// check looks at the claims of a token whose signature is right.
func (v *Verifier) check(c *claims, issuer string) error {
	now, k := v.now(), c.Kubernetes
	expected := "system:serviceaccount:" + strings.ReplaceAll(v.policy.ServiceAccount, "/", ":")
	switch {
	case c.Issuer != issuer:
		return fmt.Errorf("issuer %q: expected %q", c.Issuer, issuer)
	case !slices.Contains(c.Audience, v.policy.Audience):
		return fmt.Errorf("audience %q: expected %q", []string(c.Audience), v.policy.Audience)
	case c.Expiry == nil:
		return errors.New("no expiry: expected a token that ends")
	case now.After(c.Expiry.Time().Add(leeway)):
		return fmt.Errorf("expired at %s: expected a token that is renewed", c.Expiry.Time().UTC().Format(time.RFC3339))
	case c.NotBefore != nil && now.Add(leeway).Before(c.NotBefore.Time()):
		return fmt.Errorf("not valid before %s: expected clocks that agree", c.NotBefore.Time().UTC().Format(time.RFC3339))
	case c.IssuedAt != nil && now.Add(leeway).Before(c.IssuedAt.Time()):
		return fmt.Errorf("issued at %s: expected clocks that agree", c.IssuedAt.Time().UTC().Format(time.RFC3339))
	case c.Subject != expected || k.Namespace+"/"+k.ServiceAccount.Name != v.policy.ServiceAccount:
		return fmt.Errorf("subject %q: expected %q", c.Subject, expected)
	case k.Pod.Name == "" || k.Pod.UID == "":
		return errors.New("bound to no pod: expected a projected token of a pod")
	case k.Node.Name == "":
		return errors.New("names no node: expected a token of a pod that is on a node, from an API server of Kubernetes 1.30 or later")
	default:
		return nil
	}
}
