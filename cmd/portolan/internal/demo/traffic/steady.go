package traffic

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Steady is one connection that stays and is used all the time.
type Steady struct {
	Answer

	connection net.Conn
	done       chan struct{}

	mu      sync.Mutex
	echoes  int
	longest time.Duration
	err     error
}

// Hold connects and keeps sending small messages, each after the echo of the one
// before and an interval.
func Hold(ctx context.Context, from Place, address string, interval time.Duration) (*Steady, error) {
	s := &Steady{done: make(chan struct{})}
	err := from.Do(func() (err error) {
		s.connection, s.Answer, err = greet(ctx, address, Patience)
		return err
	})
	if err != nil {
		return nil, err
	}
	go s.talk(interval)
	return s, nil
}

func (s *Steady) talk(interval time.Duration) {
	defer close(s.done)
	for i := 0; ; i++ {
		took, err := s.echo(fmt.Sprintf("message %8d", i))
		s.mu.Lock()
		if err != nil {
			s.err = err
			s.mu.Unlock()
			return
		}
		s.echoes++
		s.longest = max(s.longest, took)
		s.mu.Unlock()
		time.Sleep(interval)
	}
}

func (s *Steady) echo(message string) (time.Duration, error) {
	begun := time.Now()
	if err := s.connection.SetDeadline(begun.Add(Patience)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(s.connection, message); err != nil {
		return 0, err
	}
	back := make([]byte, len(message))
	if _, err := io.ReadFull(s.connection, back); err != nil {
		return 0, err
	}
	if string(back) != message {
		return 0, fmt.Errorf("sent %q and got back %q", message, back)
	}
	return time.Since(begun), nil
}

// Echoes returns how many messages came back, how long the slowest took, and why
// the connection broke, if it did.
func (s *Steady) Echoes() (count int, longest time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.echoes, s.longest, s.err
}

// Close ends the connection.
func (s *Steady) Close() {
	_ = s.connection.Close()
	<-s.done
}
