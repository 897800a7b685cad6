// Package tracing makes an OpenTelemetry trace of some of the revisions, from the event
// of the API server to the answers of the nodes.
//
//	revision                     first event received ─────────▶ last answer
//	├── compile                  round began ──▶ everything computed
//	├── commit                   ──▶ snapshot current
//	├── apply                    transaction sent to a node ──▶ its answer
//	└── apply …
//
// Spans are made after the fact, from the times that rounds and streams note anyway, so
// that whoever compiles or sends does no more than to put one value into a channel:
//
//	round, sessions ──observations──▶ keeper ──spans of a whole trace──▶ sender ──▶ collector
//
// Both channels are bounded. What does not fit is dropped and counted: nothing waits for a
// collector.
//
// # Which nodes belong to a trace
//
// While a node has not answered, it is not sent anything else, and several revisions gather
// for it. Its next transaction leads from one revision to another, and its answer counts for
// every trace of a revision between. The keeper knows the transactions that are under
// way, but for those that begin a stream: no change has caused them, and nobody waits for their
// answers, which count if they come in time. A trace is complete once none of the others begins
// before its revision, and it has been quiet for long enough that all streams have noticed the
// revision; else after answerWithin.
package tracing
