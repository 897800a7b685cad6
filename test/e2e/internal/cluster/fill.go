package cluster

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// EndpointsEach is how many endpoints the Services of Fill have.
	EndpointsEach = 10
	// writers write at once, so that an API server with a core or two has no pause.
	writers = 8
)

// Fill creates Services from one number up to another, with endpoints that nobody is
// to connect to.
func (c *Cluster) Fill(ctx context.Context, from, to int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := from; i < to; i++ {
		group.Go(func() error { return c.fill(ctx, i) })
	}
	return group.Wait()
}

func (c *Cluster) fill(ctx context.Context, i int) error {
	name := fmt.Sprintf("filler-%d", i)
	if _, err := c.CreateService(ctx, name, corev1.ServiceTypeClusterIP); err != nil {
		return err
	}
	var addresses []string
	for e := range EndpointsEach {
		addresses = append(addresses, fmt.Sprintf("10.%d.%d.%d", 128+i>>8, i&255, e+1))
	}
	_, err := c.client.DiscoveryV1().EndpointSlices(c.namespace).Create(ctx, endpointSlice(name, addresses), metav1.CreateOptions{})
	return err
}
