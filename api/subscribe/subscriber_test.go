package subscribe

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hashicorp/go-hclog"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

func committed(nonce uint64, all []*discoveryv1.Resource, sent ...*discoveryv1.Resource) *piece {
	return &piece{Nonce: nonce, Revision: nonce, Commit: true, Resources: sent, Digest: digestOf(all...),
		Source: &discoveryv1.SourceVersion{Source: "s", Services: nonce}}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	valid := Config{Addresses: []string{"cp:1"}, Node: &discoveryv1.Node{Id: "n"}, Handler: &keeper{},
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}}
	if _, err := New(valid); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"no control plane address": func(c *Config) { c.Addresses = nil },
		"node.id":                  func(c *Config) { c.Node = nil },
		"no handler":               func(c *Config) { c.Handler = nil },
		"Kind(42)":                 func(c *Config) { c.Kinds = []discoveryv1.Kind{42} },
		`address "cp:1"`:           func(c *Config) { c.DialOptions = nil },
	} {
		cfg := valid
		spoil(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestATransactionIsAppliedThenAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := service("d/a", 1), service("d/b", 1)
		acks := make(chan *discoveryv1.Ack, 10)
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{func(sub *discoveryv1.Subscribe, stream rpc) error {
			if sub.GetResume() != nil || len(sub.GetKinds()) != len(resource.Kinds) || sub.GetNode().GetId() != "node-1" {
				t.Errorf("subscribed with %v", sub)
			}
			_ = stream.Send(&piece{Nonce: 1, Revision: 5, Resources: []*discoveryv1.Resource{a}})
			time.Sleep(time.Second)
			_ = stream.Send(&piece{Nonce: 2, Revision: 5, Resources: []*discoveryv1.Resource{b}, Commit: true, Digest: digestOf(a, b)})
			for {
				request, err := stream.Recv()
				if err != nil {
					return err
				}
				acks <- request.GetAck()
			}
		}}}
		n := &network{}
		defer n.serve("cp:1", server)()
		k := &keeper{result: func(*Transaction) Result {
			time.Sleep(70 * time.Millisecond)
			return Result{Err: errors.New("kernel says no"), Rejected: []*discoveryv1.RejectedResource{{Reason: "r"}}, Warnings: []*discoveryv1.Warning{{Reason: "w"}}}
		}}
		s, stop := start(t, n.config(k, "cp:1"))
		defer stop()
		time.Sleep(500 * time.Millisecond)
		if len(k.transactions()) != 0 || s.Acknowledge(Result{}) {
			t.Error("something before the commit")
		}
		ack := <-acks
		if ack.GetResponseNonce() != 2 || ack.GetDigest() != digestOf(a, b) || len(ack.GetRejected()) != 1 || len(ack.GetWarnings()) != 1 ||
			ack.GetErrorDetail().GetMessage() != "kernel says no" || ack.GetErrorDetail().GetCode() != uint32(codes.Internal) ||
			ack.GetApplyDuration().AsDuration() != 70*time.Millisecond {
			t.Errorf("acknowledged with %v", ack)
		}
		synctest.Wait()
		if !s.Acknowledge(Result{ApplyDuration: time.Millisecond}) {
			t.Error("could not acknowledge again")
		}
		if ack := <-acks; ack.GetResponseNonce() != 2 || ack.GetErrorDetail() != nil || len(ack.GetWarnings()) != 0 || ack.GetDigest() != digestOf(a, b) {
			t.Errorf("acknowledged again with %v", ack)
		}
		st := s.Status()
		if !st.Connected || st.Address != "cp:1" || st.Revision != 5 || st.Held[discoveryv1.Kind_KIND_SERVICE] != 2 || st.DigestMismatches != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestAnInterruptedTransactionLeavesNoTraceAndTheNextStreamResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := service("d/a", 1), service("d/b", 1)
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{
			func(_ *discoveryv1.Subscribe, stream rpc) error {
				_ = stream.Send(committed(1, []*discoveryv1.Resource{a}, a))
				_, _ = stream.Recv()
				_ = stream.Send(&piece{Nonce: 2, Resources: []*discoveryv1.Resource{b}})
				return status.Error(codes.Unavailable, "shutting down")
			},
			then(committed(1, []*discoveryv1.Resource{a})),
		}}
		n := &network{}
		defer n.serve("cp:1", server)()
		k := &keeper{}
		s, stop := start(t, n.config(k, "cp:1"))
		defer stop()
		time.Sleep(5 * time.Second)
		if txs := k.transactions(); len(txs) != 2 || txs[1].Resources.Len() != 0 || len(k.copy()) != 1 {
			t.Errorf("got %v", txs)
		}
		resume := server.resume(1)
		if len(resume.GetDigests()) != 1 || resource.Digest(resume.GetDigests()[0].GetBuckets()).Sum() != digestOf(a) || resume.GetSource().GetServices() != 1 {
			t.Errorf("resumed with %v", resume)
		}
		if st := s.Status(); st.Reconnects != 1 || !st.Connected {
			t.Errorf("status %+v", st)
		}
	})
}

func TestADigestMismatchIsAcknowledgedAndResumedWithoutHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := service("d/a", 1)
		wrong := committed(1, nil, a)
		wrong.Digest = 42
		var acked atomic.Int64
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{func(_ *discoveryv1.Subscribe, stream rpc) error {
			_ = stream.Send(wrong)
			if request, _ := stream.Recv(); request.GetAck().GetDigest() == digestOf(a) {
				acked.Add(1)
			}
			return forever(stream)
		}}}
		n := &network{}
		defer n.serve("cp:1", server)()
		s, stop := start(t, n.config(&keeper{}, "cp:1"))
		defer stop()
		time.Sleep(time.Minute)
		// Without a pause there would be one a second, for the linger alone.
		if opened := len(server.openings()); opened < 10 || opened > 45 || int(acked.Load()) < opened-1 {
			t.Errorf("%d streams in a minute, %d acknowledged", opened, acked.Load())
		}
		if st := s.Status(); st.DigestMismatches < 10 {
			t.Errorf("status %+v", st)
		}
		if server.resume(1) == nil {
			t.Error("did not resume")
		}
	})
}

func TestFailuresBackOffOverAllReplicasAndAreLoggedOncePerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{}
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{unavailable}}
		defer n.serve("cp:1", server)()
		var log strings.Builder
		cfg := n.config(&keeper{}, "cp:1", "cp:2", "cp:3")
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
		_, stop := start(t, cfg)
		time.Sleep(5 * time.Minute)
		stop()
		attempts := len(n.dialled())
		if attempts < 150 || attempts > 300 {
			t.Errorf("%d attempts in 5 min: expected one in 1.5 s on average", attempts)
		}
		if opened := len(server.openings()); opened < attempts/4 || opened > attempts/2 {
			t.Errorf("%d of %d attempts at one of three replicas", opened, attempts)
		}
		if lines := strings.Count(log.String(), "no control plane in reach"); lines != 5 {
			t.Errorf("%d reports in 5 min:\n%s", lines, log.String())
		}
	})
}

func TestAServerCanAskForALongerPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := func(*discoveryv1.Subscribe, rpc) error {
			st, err := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(20 * time.Second)})
			if err != nil {
				t.Error(err)
			}
			return st.Err()
		}
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{busy, then()}}
		n := &network{}
		defer n.serve("cp:1", server)()
		_, stop := start(t, n.config(&keeper{}, "cp:1"))
		defer stop()
		time.Sleep(40 * time.Second)
		opened := server.openings()
		if len(opened) < 2 || opened[1].Sub(opened[0]) < 20*time.Second {
			t.Errorf("opened at %v", opened)
		}
	})
}

func TestPushbackIsCapped(t *testing.T) {
	st, _ := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Hour)})
	if d := pushback(st.Err()); d != maxPushback {
		t.Errorf("got %s", d)
	}
	if d := pushback(errors.New("other")); d != 0 {
		t.Errorf("got %s", d)
	}
}

func TestTwoAgentsOfOneNodeDoNotFightInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{func(_ *discoveryv1.Subscribe, stream rpc) error {
			_ = stream.Send(committed(1, nil))
			_, _ = stream.Recv()
			return status.Error(codes.Aborted, "taken over")
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

func TestASilentServerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := service("d/a", 1)
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{
			then(),
			then(&piece{Nonce: 1, Resources: []*discoveryv1.Resource{a}}),
			then(committed(1, []*discoveryv1.Resource{a}, a)),
		}}
		n := &network{}
		defer n.serve("cp:1", server)()
		s, stop := start(t, n.config(&keeper{}, "cp:1"))
		defer stop()
		time.Sleep(10 * time.Minute)
		if opened := server.openings(); len(opened) != 3 || opened[2].Sub(opened[0]) < time.Minute {
			t.Errorf("opened at %v", opened)
		}
		if !s.Status().Connected {
			t.Error("a quiet stream with nothing due was left")
		}
	})
}

func TestHeldContentIsResumedFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := service("d/a", 1)
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{then(committed(1, []*discoveryv1.Resource{a}))}}
		n := &network{}
		defer n.serve("cp:1", server)()
		cfg := n.config(&keeper{}, "cp:1")
		cfg.Held = map[resource.Name]uint64{serviceName("d/a"): a.GetVersion()}
		cfg.HeldSource = &discoveryv1.SourceVersion{Source: "s", Services: 9}
		s, stop := start(t, cfg)
		defer stop()
		synctest.Wait()
		if st := s.Status(); st.DigestMismatches != 0 || st.Transactions != 1 {
			t.Errorf("status %+v", st)
		}
		if server.resume(0).GetSource().GetServices() != 9 {
			t.Errorf("resumed with %v", server.resume(0))
		}
	})
}

func TestAnObserverIsToldAndAcknowledgesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := service("d/a", 1)
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{func(_ *discoveryv1.Subscribe, stream rpc) error {
			if got, err := stream.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("sent %v, %v; want the stream half-closed", got, err)
			}
			_ = stream.Send(committed(1, []*discoveryv1.Resource{a}, a))
			return forever(stream)
		}}}
		var n network
		defer n.serve("cp:1", server)()
		k := &keeper{}
		cfg := n.config(k, "cp:1")
		cfg.Observe = true
		s, stop := start(t, cfg)
		synctest.Wait()
		if len(k.copy()) != 1 || !s.Status().Connected {
			t.Errorf("holds %v, status %+v", k.copy(), s.Status())
		}
		if s.Acknowledge(Result{}) {
			t.Error("acknowledged when asked to")
		}
		stop()
	})
}

func TestATransactionWhoseApplyingIsCutShortByTheEndIsNotAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := service("d/a", 1)
		server := &script{streams: []func(*discoveryv1.Subscribe, rpc) error{
			then(&piece{Nonce: 1, Revision: 5, Resources: []*discoveryv1.Resource{a}, Commit: true, Digest: digestOf(a)})}}
		n := &network{}
		defer n.serve("cp:1", server)()
		ctx, cancel := context.WithCancel(context.Background())
		k := &keeper{result: func(*Transaction) Result {
			cancel()
			return Result{Err: ctx.Err()}
		}}
		cfg, sent := n.config(k, "cp:1"), &sends{}
		cfg.DialOptions = append(cfg.DialOptions, grpc.WithStreamInterceptor(sent.watch))
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if len(k.transactions()) != 1 || sent.requests != 1 {
			t.Errorf("%d transactions and %d requests: expected one transaction, and its subscription alone", len(k.transactions()), sent.requests)
		}
	})
}

func TestRunReturnsTheContextsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New((&network{}).config(&keeper{}, "cp:1"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
