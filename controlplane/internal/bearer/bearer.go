// Package bearer finds the token that a gRPC call carries (RFC 6750, section 2.1).
package bearer

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Token returns the token of a call. The error has status UNAUTHENTICATED.
func Token(ctx context.Context) (string, error) {
	const name, scheme = "authorization", "Bearer "
	headers, _ := metadata.FromIncomingContext(ctx)
	values := headers.Get(name)
	if len(values) != 1 {
		return "", status.Errorf(codes.Unauthenticated, "%d headers %q: expected one, with %q and a token", len(values), name, scheme)
	}
	if len(values[0]) <= len(scheme) || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", status.Errorf(codes.Unauthenticated, "header %q: expected %q and a token", name, scheme)
	}
	return values[0][len(scheme):], nil
}
