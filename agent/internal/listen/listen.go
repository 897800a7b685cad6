// Package listen serves HTTP on an address that another process may have for a
// while: an earlier agent that has not ended yet, or kube-proxy, whose ports are
// the same.
package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
)

const (
	// retryPeriod is how often an address that is taken is tried again.
	retryPeriod = 5 * time.Second
	// headerTimeout is how long a client may take to say what it wants.
	headerTimeout = 5 * time.Second
)

// Config says what to serve, and where.
type Config struct {
	// Address is "host:port"; empty means nowhere.
	Address string
	// Flag is what the address was given with, for the error.
	Flag string
	// HardFail makes Serve end when it cannot listen.
	HardFail bool
	Handler  http.Handler
	Logger   hclog.Logger
}

// Serve serves until the context ends. An address that cannot be listened on is
// logged once and tried again.
func Serve(ctx context.Context, config Config) error {
	return (&server{Config: config, listen: (&net.ListenConfig{}).Listen}).run(ctx)
}

type server struct {
	Config
	listen func(ctx context.Context, network, address string) (net.Listener, error)
	// failed is why the address was last not served, until it is.
	failed string
}

func (s *server) run(ctx context.Context) error {
	if s.Address == "" {
		<-ctx.Done()
		return nil
	}
	retry := time.NewTicker(retryPeriod)
	defer retry.Stop()
	for {
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err = fmt.Errorf("serving on --%s %s: %w", s.Flag, s.Address, err); s.HardFail {
			return err
		}
		if s.failed != err.Error() {
			s.failed = err.Error()
			s.Logger.Error("cannot answer; trying again", "error", err, "every", retryPeriod)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
		}
	}
}

// serve listens and serves until that fails or the context ends.
func (s *server) serve(ctx context.Context) error {
	listener, err := s.listen(ctx, "tcp", s.Address)
	if err != nil {
		return reason(err)
	}
	if s.failed != "" {
		s.failed = ""
		s.Logger.Info("serving at last", "address", s.Address)
	}
	server := &http.Server{Handler: s.Handler, ReadHeaderTimeout: headerTimeout}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(listener) })
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return group.Wait()
}

// reason is an error of listening without the address, which is said already.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
