package nodecheck

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/portolan-net/portolan/api/check"
)

func (n *node) identityChecks() []check.Check {
	return []check.Check{
		looksAt(check.Always, "tls-ca", "the CA of the control planes can be read, and has not ended", n.ca),
		looksAt(check.Always, "tls-certificate", "the agent's certificate has not ended", n.certificate),
		looksAt(check.After, "token-file", "the agent has a token", n.token),
		looksAt(check.After, "token-lifetime", "the agent's token is valid now", n.aboutToken(func(c *claims) check.Finding { return c.lifetime(n.Now()) })),
		looksAt(check.After, "token-clock", "the node's clock agrees with that of who made the token", n.aboutToken(func(c *claims) check.Finding { return c.clock(n.Now()) })),
		looksAt(check.After, "token-audience", "the agent's token is for the control planes", n.aboutToken(func(c *claims) check.Finding { return c.audience(n.Audience) })),
		looksAt(check.After, "token-account", "the agent's token is of its ServiceAccount", n.aboutToken(func(c *claims) check.Finding { return c.account(n.ServiceAccount) })),
		looksAt(check.After, "token-node", "the agent's token names this node", n.aboutToken(func(c *claims) check.Finding { return c.node(n.Node) })),
	}
}

func (n *node) ca() check.Finding {
	if n.CAFile == "" {
		return check.Skipped("no CA is given (--agent-tls-ca-file)")
	}
	return judgeCertificates(n.CAFile, n.Now(), false)
}

func (n *node) certificate() check.Finding {
	if n.CertFile == "" {
		return check.Skipped("no certificate is given (--agent-tls-cert-file): agents show tokens by default")
	}
	return judgeCertificates(n.CertFile, n.Now(), true)
}

// soon is when the end of a certificate is worth a warning.
const soon = 30 * 24 * time.Hour

// judgeCertificates looks at all certificates of a file. Of a chain the first to end
// counts, of a bundle of CAs the last.
func judgeCertificates(path string, now time.Time, chain bool) check.Finding {
	list, err := readCertificates(path)
	if err != nil {
		return check.Failed("%v", err).Do("Write the certificates in PEM into that file.")
	}
	slices.SortFunc(list, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	counts := list[len(list)-1]
	if chain {
		counts = list[0]
	}
	return judgeValidity(fmt.Sprintf("%s: the certificate of %q", path, counts.Subject), counts, now)
}

func judgeValidity(what string, c *x509.Certificate, now time.Time) check.Finding {
	ends := c.NotAfter.UTC().Format(time.RFC3339)
	switch {
	case now.Before(c.NotBefore):
		return check.Failed("%s is valid from %s, and it is %s now: expected clocks that agree", what, c.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)).Do("Set the node's clock.")
	case now.After(c.NotAfter):
		return check.Failed("%s ended at %s: expected one that is valid", what, ends).Do("Renew it.")
	case c.NotAfter.Sub(now) < soon:
		return check.Warned("%s ends at %s: expected more than %d days", what, ends, int(soon.Hours()/24)).Do("Renew it; files are read again at each connection.")
	default:
		return check.Passed("%s is valid until %s", what, ends)
	}
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: expected certificates in PEM", path)
	}
	return list, nil
}

// claims are what an agent's token says. Its signature is for the control plane to verify.
type claims struct {
	Audience   audiences `json:"aud"`
	Subject    string    `json:"sub"`
	Expiry     int64     `json:"exp"`
	NotBefore  int64     `json:"nbf"`
	IssuedAt   int64     `json:"iat"`
	Kubernetes struct {
		Pod  struct{ Name string } `json:"pod"`
		Node struct{ Name string } `json:"node"`
	} `json:"kubernetes.io"`
}

// audiences are one text or several (RFC 7519, section 4.1.3).
type audiences []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audiences) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

var errNoToken = errors.New("no token is given (--agent-token-file)")

func readClaims(path string) (*claims, error) {
	if path == "" {
		return nil, errNoToken
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseClaims(path, strings.TrimSpace(string(content)))
}

// parseClaims never says what the token is.
func parseClaims(path, token string) (*claims, error) {
	parts := strings.Split(token, ".")
	const ofJWT = 3
	if len(parts) != ofJWT {
		return nil, fmt.Errorf("%s: expected a token of a ServiceAccount, three parts with points between them; it has %d", path, len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("%s: expected a token of a ServiceAccount: its claims are not in base64url", path)
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, fmt.Errorf("%s: expected a token of a ServiceAccount: its claims are not in JSON", path)
	}
	return &c, nil
}

func (n *node) token() check.Finding {
	switch _, err := n.claims(); {
	case errors.Is(err, errNoToken):
		return check.Skipped("%v", err)
	case err != nil:
		return check.Failed("%v", err).Do("Look at the volume that the agent's pod has the token from.")
	default:
		return check.Passed("%s has a token", n.TokenFile)
	}
}

// aboutToken looks at the claims of the token, if there is one.
func (n *node) aboutToken(look func(*claims) check.Finding) func() check.Finding {
	return func() check.Finding {
		c, err := n.claims()
		switch {
		case errors.Is(err, errNoToken):
			return check.Skipped("%v", err)
		case err != nil:
			return check.Skipped("the token cannot be read")
		default:
			return look(c)
		}
	}
}

// leeway is by how much clocks may differ.
const leeway = 30 * time.Second

func (c *claims) lifetime(now time.Time) check.Finding {
	ends := time.Unix(c.Expiry, 0)
	switch {
	case c.Expiry == 0:
		return check.Failed("the token has no end: expected a projected token, which has").Do("Mount a projected token with an audience, as the chart does.")
	case now.After(ends.Add(leeway)):
		return check.Failed("the token ended at %s: expected one that the kubelet renews", ends.UTC().Format(time.RFC3339)).Do("See that the kubelet of this node works, and that its clock is right.")
	default:
		return check.Passed("the token is valid until %s", ends.UTC().Format(time.RFC3339))
	}
}

func (c *claims) clock(now time.Time) check.Finding {
	made := time.Unix(max(c.IssuedAt, c.NotBefore), 0)
	if early := made.Sub(now); early > leeway {
		return check.Failed("the token is from %s, which is %s ahead of this node's clock: expected less than %s", made.UTC().Format(time.RFC3339), early.Round(time.Second), leeway).Do("Set the node's clock, and keep it right.")
	}
	return check.Passed("the token is from %s, which is not ahead of this node's clock", made.UTC().Format(time.RFC3339))
}

func (c *claims) audience(want string) check.Finding {
	if !slices.Contains(c.Audience, want) {
		return check.Failed("the token's audience is %q: expected %q", []string(c.Audience), want).Do("Set the audience of the projected token, or the control planes' --agent-audience.")
	}
	return check.Passed("the token's audience is %q", want)
}

func (c *claims) account(want string) check.Finding {
	subject := "system:serviceaccount:" + strings.ReplaceAll(want, "/", ":")
	if c.Subject != subject {
		return check.Failed("the token's subject is %q: expected %q", c.Subject, subject).Do("Set the agent's serviceAccountName, or the control planes' --agent-service-account.")
	}
	return check.Passed("the token's subject is %q", subject)
}

func (c *claims) node(want string) check.Finding {
	switch {
	case c.Kubernetes.Pod.Name == "":
		return check.Failed("the token is bound to no pod: expected a projected token of the agent's pod").Do("Mount a projected token, as the chart does.")
	case c.Kubernetes.Node.Name == "":
		return check.Failed("the token names no node: expected it, as API servers of Kubernetes 1.30 and later do").Do("Upgrade the cluster.")
	case c.Kubernetes.Node.Name != want:
		return check.Failed("the token names node %q: expected %q, which is this node's name", c.Kubernetes.Node.Name, want).Do("Give the agent --node with the Node's name (spec.nodeName).")
	default:
		return check.Passed("the token names node %q", want)
	}
}
