package kube

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/admission"
	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/cluster"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
	"github.com/portolan-net/portolan/controlplane/internal/round"
	"github.com/portolan-net/portolan/controlplane/internal/snapshot"
)

// TestAMassDeletionIsConfirmedByTheAPIServer, or not, if its watch only says so.
func TestAMassDeletionIsConfirmedByTheAPIServer(t *testing.T) {
	const many = 50
	for name, test := range map[string]struct {
		// remove removes a Service, or makes the watch say so.
		remove    func(*fake.Clientset, *watch.FakeWatcher, *corev1.Service)
		confirmed bool
	}{
		"it is true": {func(client *fake.Clientset, w *watch.FakeWatcher, s *corev1.Service) {
			_ = client.CoreV1().Services(s.Namespace).Delete(context.Background(), s.Name, metav1.DeleteOptions{})
			w.Delete(s)
		}, true},
		"the watch is wrong": {func(_ *fake.Clientset, w *watch.FakeWatcher, s *corev1.Service) { w.Delete(s) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				objects := []runtime.Object{service("stays", "200")}
				for i := range many {
					objects = append(objects, service(fmt.Sprint("s", i), fmt.Sprint(i+1)))
				}
				client, watcher := fake.NewClientset(objects...), watch.NewFake()
				client.PrependWatchReactor("services", clienttesting.DefaultWatchReactor(watcher, nil))
				store, cancel := start(client, hclog.NewNullLogger())
				snapshots := snapshot.NewStore(time.Now)
				driver := round.New(round.Config{
					Cluster: store, Snapshots: snapshots, Settings: compile.DefaultSettings(), Logger: hclog.NewNullLogger(), Brake: brake.DefaultLimits(),
					List: func(ctx context.Context) ([]model.Key, error) {
						apart := cluster.NewStore()
						err := (&Lister{client}).Services(ctx, admission.NewWriter(apart, hclog.NewNullLogger(), admission.DefaultLimits()))
						return apart.Services(), err
					},
				})
				ctx, stop := context.WithCancel(context.Background())
				done := make(chan error)
				go func() { done <- driver.Run(ctx) }()
				time.Sleep(time.Second)
				for _, object := range objects[1:] {
					test.remove(client, watcher, object.(*corev1.Service))
				}
				synctest.Wait()
				if held := len(driver.Held().Held); held == 0 {
					t.Error("nothing is held back")
				}
				time.Sleep(2 * time.Minute)
				served := 0
				for range snapshots.Current().View("").Bucket(discoveryv1.Kind_KIND_SERVICE, 0, 1) {
					served++
				}
				// What went one by one before the brake came on is at most half.
				held := len(driver.Held().Held)
				if test.confirmed && (served != 1 || held > 0) || !test.confirmed && (served <= many/2 || held == 0) {
					t.Errorf("%d are served, %d held", served, held)
				}
				stop()
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				synctest.Wait()
			})
		})
	}
}
