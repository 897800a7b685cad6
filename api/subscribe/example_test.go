package subscribe_test

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/subscribe"
)

// printer is the smallest Handler there is.
type printer struct{}

func (printer) Apply(_ context.Context, tx *subscribe.Transaction) subscribe.Result {
	fmt.Printf("revision %d: %d set, %d removed\n", tx.Revision, tx.Resources.Len(), len(tx.Removed))
	return subscribe.Result{}
}

// A program that prints what changes, without being any node's agent.
func Example() {
	subscriber, err := subscribe.New(subscribe.Config{
		Addresses:   []string{"10.0.0.10:7443", "10.0.0.11:7443"},
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())},
		Node:        &discoveryv1.Node{Id: "printer", Instance: "1"},
		Kinds:       []discoveryv1.Kind{discoveryv1.Kind_KIND_SERVICE},
		Handler:     printer{},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	_ = subscriber.Run(ctx)
}
