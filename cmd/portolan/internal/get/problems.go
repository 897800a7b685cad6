package get

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"

	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
)

var problemsHeading = []string{"OBJECT", "FIELD", "VALUE", "PROBLEM"}

func problemsCommand(now func() time.Time) *cobra.Command {
	o := options{now: now}
	command := &cobra.Command{
		Use:     "problems",
		Aliases: []string{"problem"},
		Short:   "List the objects that are not in force, and why",
		Args:    cobra.NoArgs,
		Example: `  portolan get problems
  portolan get problems -o json`,
		RunE: func(command *cobra.Command, _ []string) error { return o.problems(command) },
	}
	o.register(command)
	return command
}

func (o *options) problems(command *cobra.Command) error {
	response, err := ask.With(command.Context(), &o.server, func(ctx context.Context, client *ask.Client) (*introspectionv1.ListProblemsResponse, error) {
		return client.ListProblems(ctx, &introspectionv1.ListProblemsRequest{})
	})
	if err != nil {
		return err
	}
	rows := make([][]string, len(response.GetProblems()))
	for i, problem := range response.GetProblems() {
		rows[i] = []string{problem.GetObject(), problem.GetField(), problem.GetValue(), problem.GetMessage()}
	}
	return o.print(command, response, problemsHeading, rows, "no problems: every object is in force")
}
