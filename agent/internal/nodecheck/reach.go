package nodecheck

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/portolan-net/portolan/api/check"
)

func (n *node) reachChecks() []check.Check {
	always := func(id, title string, look func(context.Context) check.Finding) check.Check {
		return check.New(check.Node, check.Always, id, title, look)
	}
	after := func(id, title string, look func(context.Context) check.Finding) check.Check {
		return check.New(check.Node, check.After, id, title, look)
	}
	return []check.Check{
		always("controlplane-addresses", "the control planes can be found without the cluster's DNS", n.names),
		after("controlplane-reachable", "the control planes can be connected to", n.reachable),
		after("controlplane-tls", "the control planes show certificates that the agent trusts", n.trusted),
		after("controlplane-configuration", "a control plane knows this node, and configures it", n.configured),
	}
}

var noServers = check.Skipped("no control plane is given (--agent-server)")

// clusterNames are those that only the cluster's DNS knows.
var clusterNames = []string{".svc", ".svc.cluster.local", ".cluster.local"}

// names resolves names as the agent would.
func (n *node) names(ctx context.Context) check.Finding {
	if len(n.Servers) == 0 {
		return noServers
	}
	for _, server := range n.Servers {
		host, _, err := net.SplitHostPort(server)
		if err != nil {
			return check.Failed("--agent-server %q: expected host:port", server).Do("Give the agents addresses such as 192.0.2.10:9440.")
		}
		if _, err := netip.ParseAddr(host); err == nil {
			continue
		}
		for _, end := range clusterNames {
			if strings.HasSuffix(strings.TrimSuffix(host, "."), end) {
				return check.Failed("%s is a name of the cluster's DNS: expected an address, or a name that is known without it: agents make the DNS work", server).Do("Give the agents the addresses of the nodes that control planes run on.")
			}
		}
		if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
			return check.Failed("%s is not found: %s", server, check.OneLine(err)).Do("Give the agents addresses in place of names, or see what the node's /etc/resolv.conf says.")
		}
	}
	return check.Passed("agents are given %s", check.Few(n.Servers))
}

// each asks all servers at a time, and says how many there is something wrong with.
func (n *node) each(ctx context.Context, ask func(ctx context.Context, server string) error, well, advice string) check.Finding {
	if len(n.Servers) == 0 {
		return noServers
	}
	errs := make([]error, len(n.Servers))
	var wg sync.WaitGroup
	for i, server := range n.Servers {
		wg.Go(func() { errs[i] = ask(ctx, server) })
	}
	wg.Wait()
	var faults []string
	for i, err := range errs {
		if err != nil {
			faults = append(faults, fmt.Sprintf("%s: %s", n.Servers[i], check.OneLine(err)))
		}
	}
	return judgeEach(len(n.Servers), faults, well, advice)
}

func judgeEach(servers int, faults []string, well, advice string) check.Finding {
	switch len(faults) {
	case 0:
		return check.Passed("%d of %d %s", servers, servers, well)
	case servers:
		return check.Failed("none of %d %s: %s", servers, well, strings.Join(faults, "; ")).Do("%s", advice)
	default:
		return check.Warned("%d of %d %s: %s", servers-len(faults), servers, well, strings.Join(faults, "; ")).Do("%s", advice)
	}
}

func (n *node) reachable(ctx context.Context) check.Finding {
	return n.each(ctx, func(ctx context.Context, server string) error {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
		if err != nil {
			return err
		}
		return connection.Close()
	}, "can be connected to", "See that a control plane runs there, that its host port is 9440, and that no firewall is between.")
}

// trusted shakes hands with each control plane as the agent does.
func (n *node) trusted(ctx context.Context) check.Finding {
	if n.CAFile == "" {
		return check.Skipped("no CA is given (--agent-tls-ca-file)")
	}
	list, err := readCertificates(n.CAFile)
	if err != nil {
		return check.Skipped("the CA cannot be read")
	}
	roots := x509.NewCertPool()
	for _, c := range list {
		roots.AddCert(c)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: n.ServerName, NextProtos: []string{"h2"}}
	return n.each(ctx, func(ctx context.Context, server string) error { return n.shake(ctx, server, config) },
		"show a certificate that is trusted and does not end soon", "See that --agent-tls-ca-file signed the control planes' certificate, and that this is for --agent-tls-server-name.")
}

func (n *node) shake(ctx context.Context, server string, config *tls.Config) error {
	connection, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", server)
	if err != nil {
		return err
	}
	defer connection.Close()
	for _, c := range connection.(*tls.Conn).ConnectionState().PeerCertificates {
		if found := judgeValidity(fmt.Sprintf("the certificate of %q", c.Subject), c, n.Now()); found.Outcome != check.Pass {
			return errors.New(found.Message)
		}
	}
	return nil
}

func (n *node) configured(ctx context.Context) check.Finding {
	if len(n.Servers) == 0 {
		return noServers
	}
	if err := n.Configure(ctx); err != nil {
		return check.Failed("%s", check.OneLine(err)).Do("See what is said of controlplane-tls and of token-node, and that the cluster has a Node of this name.")
	}
	return check.Passed("a control plane has told the configuration of node %q", n.Node)
}
