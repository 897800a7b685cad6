// Command crowd is the agents of many nodes in one process, for tests of what many do
// to a control plane. Each subscribes over a connection of its own and computes its
// rules as an agent does, but has no kernel to put them into.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/portolan-net/portolan/agent/simulate"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

func main() {
	servers := flag.String("servers", "127.0.0.1:9440", "addresses of the control plane's replicas, separated by commas")
	nodes := flag.Int("nodes", 1000, "how many nodes; their names are crowd-0, crowd-1, and so on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, strings.Split(*servers, ","), *nodes)
	ended := ctx.Err() != nil
	stop()
	if err != nil && !ended {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, servers []string, nodes int) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range nodes {
		subscriber, err := subscribe.New(subscribe.Config{
			Addresses:   servers,
			DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())},
			Node:        &discoveryv1.Node{Id: fmt.Sprintf("crowd-%d", i), Instance: "1"},
			Handler:     &node{},
		})
		if err != nil {
			return err
		}
		group.Go(func() error { return subscriber.Run(ctx) })
	}
	return group.Wait()
}

// node is the handler of one node's transactions.
type node struct{ holds *simulate.Node }

// Apply does what an agent does up to the kernel.
func (n *node) Apply(_ context.Context, tx *subscribe.Transaction) subscribe.Result {
	if tx.Full || n.holds == nil {
		n.holds = simulate.NewNode(nil)
	}
	return subscribe.Result{Rejected: n.holds.Apply(tx.Resources.All(), tx.Removed)}
}
