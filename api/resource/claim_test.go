package resource

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawClaim(t *rapid.T) Claim {
	return Claim{
		Kind:    FrontendKind(rapid.IntRange(int(ClusterIP), int(NodePort)).Draw(t, "kind")),
		Created: rapid.Int64Range(0, 2).Draw(t, "created"),
		Service: rapid.SampledFrom([]string{"a/a", "a/b", "b/a"}).Draw(t, "service"),
	}
}

func TestTheOrderOfClaimsIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawClaim(t), drawClaim(t), drawClaim(t)
		if a.Compare(b) != -b.Compare(a) {
			t.Fatalf("%v and %v: not antisymmetric", a, b)
		}
		if (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v: a tie between different claims", a, b)
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("%v, %v, %v: not transitive", a, b, c)
		}
	})
}

func TestTheOwnerIsTheSameInWhateverOrderClaimsCome(t *testing.T) {
	older := Claim{Kind: ExternalIP, Created: 1, Service: "z/z"}
	claims := []Claim{{Kind: NodePort, Service: "a/a"}, {Kind: ExternalIP, Created: 2, Service: "a/a"}, older, {Kind: ExternalIP, Created: 1, Service: "z/zz"}}
	for range len(claims) {
		claims = append(claims[1:], claims[0])
		if owner := slices.MinFunc(claims, Claim.Compare); owner != older {
			t.Errorf("owner %v", owner)
		}
	}
}

func TestFrontendKindsHaveNames(t *testing.T) {
	for kind := ClusterIP; kind <= NodePort; kind++ {
		if kind.String() == FrontendKind(0).String() {
			t.Errorf("kind %d has no name", kind)
		}
	}
}

// TestOfDifferentKindsTheMoreExactOneOwns a frontend, whatever its age and name.
func TestOfDifferentKindsTheMoreExactOneOwns(t *testing.T) {
	order := []FrontendKind{ClusterIP, LoadBalancerIP, ExternalIP, NodePort}
	for i := range order[1:] {
		before, after := Claim{Kind: order[i], Created: 2, Service: "z/z"}, Claim{Kind: order[i+1], Created: 1, Service: "a/a"}
		if before.Compare(after) >= 0 {
			t.Errorf("%s does not go before %s", before.Kind, after.Kind)
		}
	}
}
