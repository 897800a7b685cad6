package discovery

import (
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// maxNodeID is the longest name that a Kubernetes object can have.
const maxNodeID = 253

// first waits for the Subscribe and checks it.
func (s *session) first() (*discoveryv1.Subscribe, error) {
	timer := time.NewTimer(s.server.cfg.SubscribeTimeout)
	defer timer.Stop()
	select {
	case received := <-s.requests:
		return checked(received)
	case <-timer.C:
		return nil, status.Errorf(codes.DeadlineExceeded, "no subscribe within %s", s.server.cfg.SubscribeTimeout)
	case <-s.ctx.Done():
		return nil, ended(s.ctx)
	}
}

func checked(received request) (*discoveryv1.Subscribe, error) {
	if received.err != nil && !errors.Is(received.err, io.EOF) {
		return nil, received.err
	}
	subscribe := received.GetSubscribe()
	if subscribe == nil {
		return nil, status.Error(codes.InvalidArgument, "the first request must be subscribe")
	}
	if err := checkNodeID(subscribe.GetNode().GetId()); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "subscribe.node.id: %s", err)
	}
	if kindsOf(subscribe.GetKinds()) == 0 {
		return nil, status.Errorf(codes.InvalidArgument, "subscribe.kinds %v: none of them is known here", subscribe.GetKinds())
	}
	return subscribe, nil
}

// checkNodeID refuses what no Node can be called. Ids are part of log lines and of
// keys.
func checkNodeID(id string) error {
	if id == "" {
		return errors.New("empty: expected the node's name")
	}
	if len(id) > maxNodeID {
		return fmt.Errorf("%d bytes long: expected at most %d", len(id), maxNodeID)
	}
	for _, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '.' && c != '_' {
			return fmt.Errorf("%q: expected letters, digits, '-', '.' and '_'", id)
		}
	}
	return nil
}
