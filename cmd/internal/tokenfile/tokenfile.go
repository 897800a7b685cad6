// Package tokenfile shows a token that is in a file, which is renewed in place.
package tokenfile

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// Read returns the token in a file.
func Read(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	token := strings.TrimSpace(string(content))
	switch {
	case token == "":
		return "", fmt.Errorf("reading the token: %s is empty: expected a token", path)
	case strings.ContainsAny(token, " \t\r\n"):
		return "", fmt.Errorf("reading the token: %s: expected one token, without blanks", path)
	}
	return token, nil
}

// Credentials are a gRPC call's (credentials.PerRPCCredentials): the token that is in the
// file at that moment, or the given one if there is no file.
type Credentials struct {
	Path, Token string
	// Plaintext allows the token to be sent without TLS, which is for servers on this
	// machine.
	Plaintext bool
}

// GetRequestMetadata returns the header that carries the token (RFC 6750, section 2.1).
func (c Credentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token := c.Token
	if c.Path != "" {
		var err error
		if token, err = Read(c.Path); err != nil {
			return nil, err
		}
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity tells whether the call must be by TLS.
func (c Credentials) RequireTransportSecurity() bool { return !c.Plaintext }
