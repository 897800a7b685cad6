package ask

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

// completionTimeout is how long a shell may hang at the tab key.
const completionTimeout = time.Second

// CompleteNodes completes the names of nodes.
func (f *Flags) CompleteNodes(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return f.complete(command, func(ctx context.Context, client *Client) ([]string, error) {
		response, err := client.ListNodes(ctx, &introspectionv1.ListNodesRequest{})
		var names []string
		for _, node := range response.GetNodes() {
			names = append(names, node.GetNode())
		}
		return names, err
	})
}

// CompleteServices completes the names of Services.
func (f *Flags) CompleteServices(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return f.complete(command, func(ctx context.Context, client *Client) ([]string, error) {
		response, err := client.GetView(ctx, &introspectionv1.GetViewRequest{})
		var names []string
		for _, service := range response.GetServices() {
			names = append(names, service.GetName())
		}
		return names, err
	})
}

func (f *Flags) complete(command *cobra.Command, names func(context.Context, *Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	hurried := *f
	hurried.Timeout = completionTimeout
	list, err := With(command.Context(), &hurried, names)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}
