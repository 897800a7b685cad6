package discovery

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestAdmissionRunsAFewLetsSomeWaitAndSendsTheRestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(Config{FullSyncs: 2, FullSyncQueue: 3, FullSyncWait: 10 * time.Second, RetryAfter: 7 * time.Second})
		var mu sync.Mutex
		var admitted int
		var refusals []error
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				err := a.acquire(context.Background())
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					refusals = append(refusals, err)
					return
				}
				admitted++
			})
		}
		synctest.Wait()
		if admitted != 2 || len(refusals) != 5 {
			t.Errorf("%d admitted, %d refused", admitted, len(refusals))
		}
		a.release()
		all.Wait()
		if admitted != 3 || len(refusals) != 7 || a.waiting.Load() != 0 {
			t.Errorf("%d admitted, %d refused, %d wait", admitted, len(refusals), a.waiting.Load())
		}
		st := status.Convert(refusals[0])
		if info, ok := st.Details()[0].(*errdetails.RetryInfo); !ok || st.Code() != codes.ResourceExhausted || info.GetRetryDelay().AsDuration() != 7*time.Second {
			t.Errorf("refused with %v", st)
		}
	})
}

func TestAWaitEndsWithItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(Config{FullSyncs: 1, FullSyncQueue: 1, FullSyncWait: time.Hour})
		if err := a.acquire(context.Background()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := a.acquire(ctx); status.Code(err) != codes.DeadlineExceeded || a.waiting.Load() != 0 {
			t.Errorf("got %v", err)
		}
	})
}

func TestManyNodesAtOnceAreAllServedInTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newReplica(t, func(c *Config) { c.FullSyncs, c.FullSyncQueue = 1, 1 })
		defer r.stop()
		r.commit(t, "services", services(5000, 80)...)
		var agents []*agent
		for _, node := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			a := follow(t, node, r.dial, nil)
			defer a.stop()
			agents = append(agents, a)
		}
		time.Sleep(2 * time.Minute)
		for i, a := range agents {
			if st := a.Status(); !st.Connected || st.Transactions != 1 {
				t.Errorf("agent %d: %+v", i, st)
			}
		}
		if len(r.server.admission.slots) != 0 {
			t.Error("a slot was not given back")
		}
	})
}
