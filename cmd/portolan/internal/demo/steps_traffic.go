package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/netlab"
	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/report"
	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/traffic"
)

// enough connections that each of six pods is picked, but for once in 10⁹ runs.
const enough = 120

// visits makes connections, prints who answered, and verifies that all were.
func (l *lab) visits(ctx context.Context, who string, from *netlab.Namespace, address string, count int) (*traffic.Tally, error) {
	tally, err := traffic.Visits(ctx, from, address, count)
	if err != nil {
		return nil, err
	}
	l.Say("%s → %s, %d connections", who, address, count)
	l.Detail("answered by  %s", tally)
	l.Detail("pods saw     %s", join(tally.Seen()))
	if tally.Failed > 0 {
		return nil, fmt.Errorf("%d of %d connections failed: %w", tally.Failed, count, tally.FirstError)
	}
	return tally, nil
}

func join(addresses []netip.Addr) string {
	texts := make([]string, len(addresses))
	for i, address := range addresses {
		texts[i] = address.String()
	}
	return strings.Join(texts, ", ")
}

// answeredBy verifies which pods answered.
func answeredBy(tally *traffic.Tally, pods []*pod) error {
	for _, p := range pods {
		if tally.Pods[p.name] == 0 {
			return fmt.Errorf("pod %s never answered: expected all of %d", p.name, len(pods))
		}
	}
	if len(tally.Pods) != len(pods) {
		return fmt.Errorf("%d pods answered: expected %d", len(tally.Pods), len(pods))
	}
	return nil
}

// sawOnly verifies which clients the pods saw.
func sawOnly(tally *traffic.Tally, expected ...string) error {
	for _, seen := range tally.Seen() {
		if !slices.Contains(expected, seen.String()) {
			return fmt.Errorf("a pod saw %s: expected only %s", seen, strings.Join(expected, " and "))
		}
	}
	return nil
}

func (l *lab) clusterIP(ctx context.Context) (string, error) {
	client := l.pod("a1")
	tally, err := l.visits(ctx, "pod a1 ("+client.addresses.v4+")", client.namespace, net.JoinHostPort(webIP, servicePort), enough)
	if err != nil {
		return "", err
	}
	// A pod that reaches itself is masqueraded, or its own answer would bypass the
	// node and never become one of the Service.
	err = errors.Join(answeredBy(tally, l.pods), sawOnly(tally, client.addresses.v4, client.node.gateways.v4))
	if err != nil {
		return "", err
	}
	l.Check("all 6 pods on 3 nodes have answered, and saw a1 itself")
	l.Detail("%s is the node: it stands in when a1 happens to reach itself", client.node.gateways.v4)
	if !hasIPv6() {
		return fmt.Sprintf("%d connections over 6 pods", enough), nil
	}
	tally, err = l.visits(ctx, "pod a1", client.namespace, net.JoinHostPort(sixIP, servicePort), enough)
	if err != nil {
		return "", err
	}
	if err := errors.Join(answeredBy(tally, l.pods), sawOnly(tally, client.addresses.v6, client.node.gateways.v6)); err != nil {
		return "", err
	}
	l.Check("the same over IPv6")
	return fmt.Sprintf("%d connections over 6 pods, by IPv4 and IPv6", 2*enough), nil
}

func (l *lab) nodePort(ctx context.Context) (string, error) {
	entry := l.node("b")
	tally, err := l.visits(ctx, "internet ("+clientAddress+")", l.internet, net.JoinHostPort(entry.addresses.v4, webNodePort), enough)
	if err != nil {
		return "", err
	}
	if err := errors.Join(answeredBy(tally, l.pods), sawOnly(tally, entry.addresses.v4, entry.gateways.v4)); err != nil {
		return "", err
	}
	l.Check("all 6 pods have answered, and saw node-b: it stands in for the client")
	return "masqueraded by node-b", nil
}

func (l *lab) loadBalancer(ctx context.Context) (string, error) {
	l.Say("a router sends %s to node-a, as a cloud's load balancer would", loadBalancerIP)
	tally, err := l.visits(ctx, "internet", l.internet, net.JoinHostPort(loadBalancerIP, servicePort), enough)
	if err != nil {
		return "", err
	}
	entry := l.node("a")
	if err := errors.Join(answeredBy(tally, l.pods), sawOnly(tally, entry.addresses.v4, entry.gateways.v4)); err != nil {
		return "", err
	}
	l.Check("all 6 pods have answered, and saw node-a: it stands in for the client")
	return fmt.Sprintf("%d connections over 6 pods", enough), nil
}

func (l *lab) affinity(ctx context.Context) (string, error) {
	const count = 20
	var figures []string
	for _, name := range []string{"b1", "c2"} {
		tally, err := l.visits(ctx, "pod "+name, l.pod(name).namespace, net.JoinHostPort(stickyIP, servicePort), count)
		if err != nil {
			return "", err
		}
		if len(tally.Pods) != 1 {
			return "", fmt.Errorf("%d pods answered: expected one, because the Service has sessionAffinity ClientIP", len(tally.Pods))
		}
		figures = append(figures, name+" always to "+strings.Fields(tally.String())[0])
	}
	l.Check("each client's %d connections were all answered by one pod", count)
	return strings.Join(figures, ", "), nil
}

func (l *lab) externalLocal(ctx context.Context) (string, error) {
	entry := l.node("b")
	const count = 40
	tally, err := l.visits(ctx, "internet ("+clientAddress+")", l.internet, net.JoinHostPort(entry.addresses.v4, localNodePort), count)
	if err != nil {
		return "", err
	}
	here := slices.DeleteFunc(slices.Clone(l.pods), func(p *pod) bool { return p.node != entry })
	if err := errors.Join(answeredBy(tally, here), sawOnly(tally, clientAddress)); err != nil {
		return "", err
	}
	l.Check("only node-b's own pods have answered, and saw the client's true address")
	return "source " + clientAddress + " preserved", nil
}

func (l *lab) undeclared(ctx context.Context) (string, error) {
	from := l.pod("c1").namespace
	const noTime = 200 * time.Millisecond
	took, err := knock(ctx, from, net.JoinHostPort(webIP, "81"))
	l.Say("pod c1 → %s:81, not a port of that Service: %s after %s", webIP, outcome(err), report.Duration(took))
	if !errors.Is(err, syscall.ECONNREFUSED) || took > noTime {
		return "", fmt.Errorf("expected a refusal within %s", report.Duration(noTime))
	}
	silence, err := knock(ctx, from, net.JoinHostPort(unownedIP, servicePort))
	l.Say("pod c1 → %s:80, not a Service: %s after %s", unownedIP, outcome(err), report.Duration(silence))
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		return "", errors.New("expected silence")
	}
	l.Check("a wrong port is refused at once; an address of no Service gets no answer")
	return "refused in " + report.Duration(took), nil
}

// knock tries to connect, not for long.
func knock(ctx context.Context, from *netlab.Namespace, address string) (took time.Duration, err error) {
	const patience = 400 * time.Millisecond
	begun := time.Now()
	err = from.Do(func() error {
		connection, err := netlab.Dial(ctx, address, patience)
		if err == nil {
			_ = connection.Close()
		}
		return err
	})
	return time.Since(begun), err
}

func outcome(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return "connected"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "silence, gave up"
	default:
		return err.Error()
	}
}
