package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/portolan-net/portolan/controlplane/internal/userauth"
)

// Inspector looks at a cluster as somebody who has a kubeconfig. It changes nothing.
type Inspector struct {
	client kubernetes.Interface
}

// Inspect returns an inspector that asks a client.
func Inspect(client kubernetes.Interface) *Inspector { return &Inspector{client} }

// NewInspector returns one for a kubeconfig. An empty path means the kubeconfig that kubectl
// would use, or the cluster that the process runs in.
func NewInspector(kubeconfig string) (*Inspector, error) {
	client, err := personsClient(kubeconfig)
	if err != nil {
		return nil, err
	}
	return Inspect(client), nil
}

// personsClient returns a client as kubectl would have it.
func personsClient(kubeconfig string) (kubernetes.Interface, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: expected a readable kubeconfig file with a current context: %w", strings.Join(rules.GetLoadingPrecedence(), ", "), err)
	}
	config.UserAgent = "portolan"
	config.Timeout = askPatience
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: expected settings for a client: %w", kubeconfig, err)
	}
	return client, nil
}

// Version returns which API server it is, and its clock.
func (i *Inspector) Version(ctx context.Context) (*apiversion.Info, time.Time, error) {
	api, ok := i.client.Discovery().RESTClient().(*rest.RESTClient)
	if !ok {
		return nil, time.Time{}, errors.New("expected a client of an API server")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, api.Get().AbsPath("/version").URL().String(), http.NoBody)
	if err != nil {
		return nil, time.Time{}, err
	}
	client := api.Client
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, time.Time{}, fmt.Errorf("%s: %s", request.URL, response.Status)
	}
	clock, _ := http.ParseTime(response.Header.Get("Date"))
	var found apiversion.Info
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		return nil, clock, fmt.Errorf("%s: expected the version of an API server: %w", request.URL, err)
	}
	return &found, clock, nil
}

// Serves tells whether the API server has a resource.
func (i *Inspector) Serves(groupVersion, resource string) (bool, error) {
	list, err := i.client.Discovery().ServerResourcesForGroupVersion(groupVersion)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, r := range list.APIResources {
		if r.Name == resource {
			return true, nil
		}
	}
	return false, nil
}

// Right is something that somebody may do, or may not.
type Right struct {
	Verb, Group, Resource, Namespace string
	// Path is that of what is no resource, in place of these.
	Path string
}

// String returns "list services", or "get /openid/v1/jwks".
func (r Right) String() string {
	switch {
	case r.Path != "":
		return r.Verb + " " + r.Path
	case r.Group != "":
		return r.Verb + " " + r.Resource + "." + r.Group
	default:
		return r.Verb + " " + r.Resource
	}
}

// May tells whether a user has a right; the one who asks if there is no name.
func (i *Inspector) May(ctx context.Context, user userauth.User, right Right) (bool, error) {
	var resource *authorizationv1.ResourceAttributes
	var path *authorizationv1.NonResourceAttributes
	if right.Path != "" {
		path = &authorizationv1.NonResourceAttributes{Verb: right.Verb, Path: right.Path}
	} else {
		resource = &authorizationv1.ResourceAttributes{Verb: right.Verb, Group: right.Group, Resource: right.Resource, Namespace: right.Namespace}
	}
	if user.Name == "" {
		answer, err := i.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: resource, NonResourceAttributes: path},
		}, metav1.CreateOptions{})
		return err == nil && answer.Status.Allowed, err
	}
	answer, err := i.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: user.Name, Groups: user.Groups, ResourceAttributes: resource, NonResourceAttributes: path},
	}, metav1.CreateOptions{})
	return err == nil && answer.Status.Allowed, err
}

// Identity asks what control planes ask about tokens.
func (i *Inspector) Identity() *Identity { return &Identity{i.client} }

// AccountToken makes a token of a ServiceAccount for an audience, that ends after ten minutes.
func (i *Inspector) AccountToken(ctx context.Context, namespace, name, audience string) (string, error) {
	const seconds = 600
	lifetime := int64(seconds)
	answer, err := i.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: &lifetime},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return answer.Status.Token, nil
}
