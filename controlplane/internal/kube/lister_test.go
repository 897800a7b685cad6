package kube

import (
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
)

func TestTheListerPutsAllServicesIntoForce(t *testing.T) {
	headless := service("headless", "7")
	headless.Spec.ClusterIP = "None"
	store := cluster.NewStore()
	lister := &Lister{fake.NewClientset(service("a", "5"), service("b", "6"), headless)}
	if err := lister.Services(context.Background(), admission.NewWriter(store, hclog.NewNullLogger(), admission.DefaultLimits())); err != nil {
		t.Fatal(err)
	}
	if listed := store.Services(); len(listed) != 2 {
		t.Errorf("listed %v, want those that are proxied", listed)
	}
}

func TestAListThatIsForbiddenIsAnError(t *testing.T) {
	client := fake.NewClientset(service("a", "5"))
	client.PrependReactor("list", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("services"), "", nil)
	})
	err := (&Lister{client}).Services(context.Background(), admission.NewWriter(cluster.NewStore(), hclog.NewNullLogger(), admission.DefaultLimits()))
	if err == nil || !strings.HasPrefix(err.Error(), "listing the Services of the API server: ") {
		t.Error(err)
	}
}
