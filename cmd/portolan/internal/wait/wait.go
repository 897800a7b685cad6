// Package wait is `portolan wait`: it ends when every node has applied a change.
package wait

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	rolloutv1 "github.com/portolan-net/portolan/api/portolan/rollout/v1"
	"github.com/portolan-net/portolan/api/rollout"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
)

type options struct {
	server          ask.Flags
	present, absent string
	nodes           string
	absentAfter     time.Duration
	patience        time.Duration
	quiet           bool
}

// Command returns the command.
func Command() *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "wait service/[NAMESPACE/]NAME | --without IP",
		Short: "Wait until every node has applied a change",
		Long: `Wait until every node has applied a change, in its kernel.

With a Service, what the API server has of it when the command begins must be in
force: its ports, addresses, policies and endpoints. With --endpoint the Service must
send to that endpoint, with --without no Service, or not that one, may send new
connections to it any more; a change that the cluster is still about to make is waited
for too.

A node that rejects the Service has not applied it. What is not there in time is named,
and the command fails. Each control plane knows the nodes that are connected to it, so
--server must name all replicas, separated by commas.`,
		Example: `  kubectl apply -f web.yaml && portolan wait service/demo/web
  portolan wait service/demo/web --endpoint 10.244.1.5 --nodes 99%
  portolan wait --without 10.244.1.5 --server 192.0.2.10:9443,192.0.2.11:9443 --tls-ca-file ca.crt --token-file token`,
		Args: cobra.MaximumNArgs(1),
		RunE: o.run,
	}
	flags := command.Flags()
	flags.StringVar(&o.present, "endpoint", "", "address of an endpoint that the Service must send to")
	flags.StringVar(&o.absent, "without", "", "address of an endpoint that nobody may send to any more")
	flags.StringVar(&o.nodes, "nodes", "all", "how many of the cluster's Nodes must have applied it: all, or a share such as 99%")
	flags.DurationVar(&o.absentAfter, "excuse-after", 0, "do not wait for nodes that are connected to no control plane for so long; 0 waits for them too")
	flags.DurationVar(&o.patience, "for", 5*time.Minute, "how long to wait")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "do not tell how far it is")
	o.server.Register(flags)
	_ = flags.MarkHidden("timeout") // Here it is --for.
	return command
}

func (o *options) run(command *cobra.Command, args []string) error {
	request, err := o.request(args)
	if err != nil {
		return err
	}
	share, err := parseShare(o.nodes)
	if err != nil {
		return err
	}
	clients, done, err := o.server.ConnectAll()
	if err != nil {
		return err
	}
	defer done()
	var replicas []rollout.Replica
	for _, client := range clients {
		replicas = append(replicas, rollout.Replica{Name: client.Server(), Client: client})
	}
	ctx, cancel := context.WithTimeout(command.Context(), o.patience)
	defer cancel()
	begun := time.Now()
	told := func(p rollout.Progress) {
		if !o.quiet && !p.Done && time.Since(begun) > time.Second {
			command.PrintErrln(p)
		}
	}
	progress, err := rollout.Wait(ctx, replicas, request, rollout.Policy{Share: share, Absent: o.absentAfter}, told)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("not within %s: %s", o.patience, progress)
	case err != nil:
		return err
	}
	fmt.Fprintf(command.OutOrStdout(), "%s, after %s\n", progress, time.Since(begun).Round(time.Millisecond))
	return nil
}

func (o *options) request(args []string) (*rolloutv1.WatchRequest, error) {
	request := &rolloutv1.WatchRequest{Present: o.present, Absent: o.absent}
	if len(args) == 0 {
		if o.absent == "" {
			return nil, errors.New("expected service/NAME, or --without IP")
		}
		return request, nil
	}
	kind, name, found := strings.Cut(args[0], "/")
	if !found || kind != "service" && kind != "services" && kind != "svc" || name == "" || strings.Count(name, "/") > 1 {
		return nil, fmt.Errorf("%q: expected service/NAME or service/NAMESPACE/NAME", args[0])
	}
	request.Service = name
	return request, nil
}

// parseShare returns the part of the nodes that "all" or "99%" stands for.
func parseShare(text string) (float64, error) {
	if text == "all" {
		return 1, nil
	}
	number, isPercent := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	const whole = 100
	if !isPercent || err != nil || percent <= 0 || percent > whole {
		return 0, fmt.Errorf("--nodes %q: expected all, or a share of more than 0%% and at most 100%%", text)
	}
	return percent / whole, nil
}
