package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/report"
	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/traffic"
)

// alone is how long the nodes are left alone.
const alone = time.Second

// load is the traffic while things break.
type load struct {
	flow   *traffic.Flow
	steady *traffic.Steady
}

// startLoad starts new connections all the time, and one that stays.
func (l *lab) startLoad(ctx context.Context) error {
	const pause = 10 * time.Millisecond
	client := l.pod("a2")
	steady, err := traffic.Hold(ctx, client.namespace, net.JoinHostPort(webIP, servicePort), pause)
	if err != nil {
		return fmt.Errorf("a connection from pod a2 to the web Service: %w", err)
	}
	l.load = &load{flow: l.flow(ctx), steady: steady}
	l.Say("2 pods and the internet make new connections to the Service all the time")
	l.Say("one connection stays: pod a2 → %s → pod %s", webIP, steady.Pod)
	return nil
}

// expectLoad verifies that nothing has failed so far, and returns how many new
// connections there were.
func (l *lab) expectLoad() (connections int, err error) {
	tally := l.load.flow.Sum()
	echoes, longest, err := l.load.steady.Echoes()
	if err != nil {
		return 0, fmt.Errorf("the connection to pod %s broke after %d messages: %w", l.load.steady.Pod, echoes, err)
	}
	if tally.Failed > 0 {
		return 0, fmt.Errorf("%d connections failed, expected none; the first: %w", tally.Failed, tally.FirstError)
	}
	l.Check("%d new connections since, 0 failed", tally.Answered())
	l.Check("the one that stays still works: %d messages came back, the slowest in %s", echoes, report.Duration(longest))
	return tally.Answered(), nil
}

func (l *lab) killControlPlane(ctx context.Context) (string, error) {
	if err := l.startLoad(ctx); err != nil {
		return "", err
	}
	time.Sleep(alone / 4)
	l.Say("kill -9 of the control plane")
	l.controlPlane.kill()
	time.Sleep(alone)
	count, err := l.expectLoad()
	return fmt.Sprintf("0 of %d connections failed", count), err
}

func (l *lab) killAgent(context.Context) (string, error) {
	n := l.node("a")
	l.Say("kill -9 of node-a's agent, while there is no control plane either")
	n.agent.kill()
	time.Sleep(alone)
	l.Say("it starts again; it has the kernel's rules and what it wrote to disk")
	if err := l.startAgent(n); err != nil {
		return "", err
	}
	time.Sleep(alone)
	if err := n.agent.check(); err != nil {
		return "", err
	}
	count, err := l.expectLoad()
	return fmt.Sprintf("0 of %d connections failed", count), err
}

func (l *lab) resume(ctx context.Context) (string, error) {
	l.Say("the control plane starts again")
	begun := time.Now()
	if err := l.startControlPlane(); err != nil {
		return "", err
	}
	s, err := l.await(ctx, 0)
	if err != nil {
		return "", err
	}
	took := time.Since(begun)
	for _, n := range l.nodes {
		now, full := s.nodes[n.name], l.fullSync[n.name]
		l.Detail("%s says what it holds, and is sent %s (the first time: %s)", n.name, l.sent(now), l.sent(full))
		if now.GetSentBytes() > full.GetSentBytes()/2 {
			return "", fmt.Errorf("%s was sent %d bytes: expected next to nothing, because nothing has changed", n.name, now.GetSentBytes())
		}
	}
	l.Check("all 3 agents have resumed, %s after the start", report.Duration(took))
	_, err = l.expectLoad()
	tally, stopErr := l.load.flow.Stop()
	l.load.steady.Close()
	return fmt.Sprintf("resumed in %s; 0 of %d connections failed", report.Duration(took), tally.Answered()), errors.Join(err, stopErr)
}
