// Package tokenfile shows a token that is in a file, which is renewed in place.
package tokenfile

import (
	"context"
	"errors"
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
// file at that moment.
type Credentials struct {
	Path string
	// Plaintext allows the token to be sent without TLS, which is for servers on this
	// machine.
	Plaintext bool
}

// GetRequestMetadata returns the header that carries the token.
func (c Credentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := Read(c.Path)
	if err != nil {
		return nil, err
	}
	return Header(token), nil
}

// RequireTransportSecurity tells whether the call must be by TLS.
func (c Credentials) RequireTransportSecurity() bool { return !c.Plaintext }

// Header returns the header that carries a token (RFC 6750, section 2.1).
func Header(token string) map[string]string {
	return map[string]string{"authorization": "Bearer " + token}
}

// Static is a token for each call that is not in a file.
type Static struct {
	Token     string
	Plaintext bool
}

// GetRequestMetadata returns the header that carries the token.
func (s Static) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if s.Token == "" {
		return nil, errors.New("no token")
	}
	return Header(s.Token), nil
}

// RequireTransportSecurity tells whether the call must be by TLS.
func (s Static) RequireTransportSecurity() bool { return !s.Plaintext }
