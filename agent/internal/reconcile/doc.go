// Package reconcile keeps the kernel equal to what the control plane said: it
// takes transactions over into the state, computes the change of the ruleset,
// has the data plane apply it, and answers.
//
//	transaction ─▶ state ─▶ ruleset.Table ─▶ dataplane ─▶ Result (ACK or NACK)
//	                 │ debounced
//	                 ▼
//	             checkpoint
//
// One goroutine, Run's, owns all of it. Its rules:
//
//   - The kernel is never emptied because something failed. An apply that fails is
//     retried as a whole with backoff, and acknowledged when it succeeds.
//   - What the kernel held before this process is replaced by one transaction, and
//     only by what a control plane said to this process; it may be newer than the
//     checkpoint. A kernel that holds nothing of ours gets the checkpoint at once.
package reconcile
