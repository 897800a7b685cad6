package subscribe

import (
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxPushback bounds the pause that a server can ask for.
const maxPushback = 30 * time.Second

// retry decides how long to pause before the next attempt: full jitter over a
// range that doubles with every failure in a row.
type retry struct {
	base, max time.Duration
	rand      *rand.Rand
	failures  int
}

func (r *retry) reset() { r.failures = 0 }

// next returns the pause after an attempt that ended with err.
func (r *retry) next(err error) time.Duration {
	limit := r.max
	if shift := min(r.failures, 30); r.base<<shift < r.max && r.base<<shift > 0 {
		limit = r.base << shift
	}
	r.failures++
	jitter := time.Duration(r.rand.Int64N(int64(limit) + 1))
	if asked := pushback(err); asked > 0 {
		// Spread those that were all told the same, also if that was too much.
		return asked + jitter
	}
	return jitter
}

// pushback returns the pause that an overloaded server asks for, or zero.
func pushback(err error) time.Duration {
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.ResourceExhausted {
		return 0
	}
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return min(max(0, info.GetRetryDelay().AsDuration()), maxPushback)
		}
	}
	return 0
}
