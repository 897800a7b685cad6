package traffic

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/portolan-net/portolan/test/e2e/internal/lab"
)

// Stream makes one new connection after the other.
type Stream struct {
	stop chan struct{}
	done chan Result
	// answers has who answered, each time that it is another than before.
	answers chan Answer
	made    atomic.Int64
}

// Answer is the first of a row of answers of the same host; Name is empty if there
// was none.
type Answer struct {
	Name string
	At   time.Time
}

// Result is what became of the connections of a Stream.
type Result struct {
	Connections int
	// Failures are the errors of those that failed.
	Failures []error
	// Names counts the answers of each host.
	Names map[string]int
}

// String sums the result up.
func (r Result) String() string {
	text := fmt.Sprintf("%d connections, %d failed", r.Connections, len(r.Failures))
	if len(r.Failures) > 0 {
		text += fmt.Sprintf(", the first: %v", r.Failures[0])
	}
	return text
}

// Start connects to an "address:port" from a host, again and again with a pause
// between, until Stop.
func Start(from *lab.Host, address string, pause time.Duration) *Stream {
	s := &Stream{stop: make(chan struct{}), done: make(chan Result, 1), answers: make(chan Answer, 1000)}
	go func() {
		result := Result{Names: map[string]int{}}
		err := from.Do(func() error {
			s.run(address, pause, &result)
			return nil
		})
		if err != nil {
			result.Failures = append(result.Failures, err)
		}
		s.done <- result
	}()
	return s
}

func (s *Stream) run(address string, pause time.Duration, result *Result) {
	last := ""
	for {
		select {
		case <-s.stop:
			return
		case <-time.After(pause):
		}
		name, err := ask(address)
		result.Connections++
		s.made.Add(1)
		if err != nil {
			result.Failures = append(result.Failures, err)
		} else {
			result.Names[name]++
		}
		if name != last {
			last = name
			select {
			case s.answers <- Answer{name, time.Now()}:
			default: // Nobody waits for them.
			}
		}
	}
}

// Wait waits for a host to answer and returns when it first did, if that is after
// the given time.
func (s *Stream) Wait(name string, after time.Time, timeout time.Duration) (time.Time, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		select {
		case answer := <-s.answers:
			if answer.Name == name && answer.At.After(after) {
				return answer.At, nil
			}
		case <-timer.C:
			return time.Time{}, fmt.Errorf("%s does not answer within %v", name, timeout)
		}
	}
}

// Make waits until there have been so many connections, for a while.
func (s *Stream) Make(connections int, timeout time.Duration) error {
	for deadline := time.Now().Add(timeout); s.made.Load() < int64(connections); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d connections in %v, want %d", s.made.Load(), timeout, connections)
		}
	}
	return nil
}

// Stop ends the stream and returns what became of its connections.
func (s *Stream) Stop() Result {
	close(s.stop)
	return <-s.done
}
