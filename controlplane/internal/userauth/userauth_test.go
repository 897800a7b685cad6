package userauth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// rules is a cluster: what the bearers of tokens may, as "verb path".
type rules struct {
	may   map[string][]string
	away  bool
	asked int
}

func (r *rules) ReviewToken(_ context.Context, token, _ string) (User, bool, string, error) {
	r.asked++
	if r.away {
		return User{}, false, "", errors.New("the API server is away")
	}
	_, known := r.may[token]
	return User{Name: token}, known, "unknown token", nil
}

func (r *rules) MayAccess(_ context.Context, user User, verb, path string) (bool, string, error) {
	for _, right := range r.may[user.Name] {
		if right == verb+" "+path {
			return true, "", nil
		}
	}
	return false, "no rule", nil
}

const question, order = "/portolan.introspection.v1.IntrospectionService/ListNodes", "/portolan.admin.v1.AdminService/Release"

func call(g *Gate, token, method string) error {
	ctx := context.Background()
	if token != "" {
		ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token))
	}
	_, err := g.UnaryInterceptor(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) { return nil, nil })
	return err
}

func TestWhatTheClusterAllowsIsAllowed(t *testing.T) {
	cluster := &rules{may: map[string][]string{
		"viewer": {"get " + PathIntrospection}, "operator": {"get " + PathIntrospection, "update " + PathAdmin}, "nobody": nil,
	}}
	g := NewGate(cluster, time.Now)
	for _, test := range []struct {
		token, method string
		code          codes.Code
		want          string
	}{
		{"viewer", question, codes.OK, ""},
		{"viewer", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", codes.OK, ""},
		{"viewer", order, codes.PermissionDenied, `user "viewer" may not update /portolan/admin: expected a ClusterRole with nonResourceURLs: ["/portolan/admin"], verbs: [update] (no rule)`},
		{"operator", order, codes.OK, ""},
		{"nobody", question, codes.PermissionDenied, "may not get /portolan/introspection"},
		{"forged", question, codes.Unauthenticated, "does not take the token: unknown token"},
		{"", question, codes.Unauthenticated, "expected one"},
	} {
		if err := call(g, test.token, test.method); status.Code(err) != test.code || test.want != "" && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, %s: %v: want %s %q", test.token, test.method, err, test.code, test.want)
		}
	}
}

// TestAnAnswerCountsForAMoment and no longer; that there was none does not count.
func TestAnAnswerCountsForAMoment(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	cluster := &rules{may: map[string][]string{"viewer": {"get " + PathIntrospection}}, away: true}
	g := NewGate(cluster, func() time.Time { return now })
	if err := call(g, "viewer", question); status.Code(err) != codes.Unavailable {
		t.Errorf("while the API server is away: %v", err)
	}
	cluster.away = false
	for range 100 {
		if err := call(g, "viewer", question); err != nil {
			t.Fatal(err)
		}
	}
	if cluster.asked != 2 {
		t.Errorf("asked %d times", cluster.asked)
	}
	cluster.may["viewer"] = nil
	now = now.Add(remember)
	if err := call(g, "viewer", question); status.Code(err) != codes.PermissionDenied {
		t.Errorf("after the right was taken away: %v", err)
	}
}
