package subscribe

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// TestAnOrderlyEndIsNoFailure: neither that of a stream nor that of a connection.
func TestAnOrderlyEndIsNoFailure(t *testing.T) {
	const age = 30 * time.Minute
	a := service("d/a", 80)
	all := []*discoveryv1.Resource{a}
	for name, test := range map[string]struct {
		options []grpc.ServerOption
		end     func(rpc) error
	}{
		"stream": {nil, func(stream rpc) error {
			select {
			case <-time.After(age):
				return nil
			case <-stream.Context().Done():
				return stream.Context().Err()
			}
		}},
		"connection": {[]grpc.ServerOption{grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: age, MaxConnectionAgeGrace: time.Second})},
			forever},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{func(s *discoveryv1.Subscribe, stream rpc) error {
					piece := committed(1, all, a)
					if s.GetResume() != nil {
						piece = committed(1, all)
					}
					_ = stream.Send(piece)
					return test.end(stream)
				}}}
				n, k := &network{}, &keeper{}
				defer n.serve("cp:1", server, test.options...)()
				var log strings.Builder
				cfg := n.config(k, "cp:1")
				cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug})
				s, stop := start(t, cfg)
				time.Sleep(10 * age)
				if st := s.Status(); !st.Connected || st.Reconnects < 8 || st.DigestMismatches > 0 {
					t.Errorf("%+v", st)
				}
				stop()
				if strings.Contains(log.String(), "[WARN]") || !strings.Contains(log.String(), "had the stream end") {
					t.Errorf("logged:\n%s", log.String())
				}
				for i, opened := range server.openings()[1:] {
					if apart := opened.Sub(server.openings()[i]); apart > age*11/10+2*time.Second {
						t.Errorf("stream %d came %s after the one before: the pauses grow", i+1, apart)
					}
				}
				for i, tx := range k.transactions()[1:] {
					if tx.Resources.Len()+len(tx.Removed) > 0 {
						t.Errorf("transaction %d changes something", i+1)
					}
				}
			})
		})
	}
}

// TestAStreamThatEndsTooSoonIsNotTakenForAnOldOne: it would be opened again and again.
func TestAStreamThatEndsTooSoonIsNotTakenForAnOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{func(_ *discoveryv1.Subscribe, stream rpc) error {
			return stream.Send(committed(1, nil))
		}}}
		n := &network{}
		defer n.serve("cp:1", server)()
		_, stop := start(t, n.config(&keeper{}, "cp:1"))
		defer stop()
		time.Sleep(time.Minute)
		if opened := len(server.openings()); opened > 60 {
			t.Errorf("%d streams in a minute", opened)
		}
	})
}

func TestOnlyAnOrderlyEndIsTakenForOne(t *testing.T) {
	for message, want := range map[string]bool{
		`closing transport due to: EOF, received prior goaway: code: NO_ERROR, debug data: "max_age"`:                 true,
		`closing transport due to: EOF, received prior goaway: code: ENHANCE_YOUR_CALM, debug data: "too_many_pings"`: false,
		"the control plane is shutting down": false,
	} {
		if got := errors.Is(ended(status.Error(codes.Unavailable, message)), errAged); got != want {
			t.Errorf("%q: %v", message, got)
		}
	}
}
