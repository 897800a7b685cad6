package kube

import (
	"context"
	"encoding/json"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portolan-net/portolan/controlplane/internal/nodeauth"
	"github.com/portolan-net/portolan/controlplane/internal/userauth"
)

// Identity asks an API server who somebody is and what he may.
type Identity struct {
	client kubernetes.Interface
}

// NewIdentity returns one for the API server of a kubeconfig, or of the cluster that the
// process runs in if the path is empty.
func NewIdentity(kubeconfig string) (*Identity, error) {
	client, err := newClient(kubeconfig)
	if err != nil {
		return nil, err
	}
	return &Identity{client}, nil
}

// Published reads who signs the cluster's ServiceAccount tokens, and with which keys
// (KEP-1393).
func (i *Identity) Published(ctx context.Context) (nodeauth.Published, error) {
	document, err := i.get(ctx, "/.well-known/openid-configuration")
	if err != nil {
		return nodeauth.Published{}, err
	}
	var configuration struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(document, &configuration); err != nil {
		return nodeauth.Published{}, fmt.Errorf("reading the cluster's token issuer: %w", err)
	}
	keys, err := i.get(ctx, "/openid/v1/jwks")
	return nodeauth.Published{Issuer: configuration.Issuer, JWKS: keys}, err
}

func (i *Identity) get(ctx context.Context, path string) ([]byte, error) {
	content, err := i.client.Discovery().RESTClient().Get().AbsPath(path).
		SetHeader("Accept", "application/json, application/jwk-set+json").Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("reading %s of the API server (expected a right to it, as ClusterRole system:service-account-issuer-discovery gives): %w", path, err)
	}
	return content, nil
}

// ReviewToken asks who the bearer of a token is, that must be for the audience if that is
// not empty. It returns false if the token is not good, with the API server's reason.
func (i *Identity) ReviewToken(ctx context.Context, token, audience string) (user userauth.User, good bool, reason string, err error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	if audience != "" {
		review.Spec.Audiences = []string{audience}
	}
	answer, err := i.client.AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return userauth.User{}, false, "", fmt.Errorf("asking the API server about a token (TokenReview): %w", err)
	}
	u := answer.Status.User
	user = userauth.User{Name: u.Username, UID: u.UID, Groups: u.Groups, Extra: map[string][]string{}}
	for key, values := range u.Extra {
		user.Extra[key] = values
	}
	return user, answer.Status.Authenticated, answer.Status.Error, nil
}

// MayAccess asks whether a user may do something with a path that is no resource.
func (i *Identity) MayAccess(ctx context.Context, user userauth.User, verb, path string) (allowed bool, reason string, err error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range user.Extra {
		extra[key] = values
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Name, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb},
	}}
	answer, err := i.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, "", fmt.Errorf("asking the API server what %s may (SubjectAccessReview): %w", user.Name, err)
	}
	return answer.Status.Allowed, answer.Status.Reason, nil
}
