// Package release is `portolan release`: an operator's word that a mass deletion of
// Services, which a control plane holds back, is meant.
package release

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	adminv1 "github.com/portolan-net/portolan/api/portolan/admin/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/ask"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

type options struct {
	server ask.Flags
	format output.Format
	yes    bool
	// terminal tells whether there is somebody to ask, who types.
	terminal func() bool
	typed    *bufio.Reader
}

// Command returns the command.
func Command() *cobra.Command { return command(isTerminal) }

func command(terminal func() bool) *cobra.Command {
	o := options{terminal: terminal}
	command := &cobra.Command{
		Use:   "release",
		Short: "Let a mass deletion of Services go that is held back",
		Long: `Let a mass deletion of Services go that a control plane holds back.

If more than half of the Services, and more than 20, go at once, nodes keep them
until a later full list of the source confirms the deletion, or until this command
says that it is meant. Only what is shown before is released: removals that come
meanwhile still wait. Each replica of a control plane holds back on its own: --server
names all of them, separated by commas.`,
		Example: `  portolan get problems
  portolan release
  portolan release --yes --server unix:/run/portolan/admin.sock`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return o.run(command) },
	}
	command.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	o.server.Register(command.Flags())
	o.format.Register(command)
	return command
}

// run asks and tells each replica: one that does not answer is no reason to leave another.
func (o *options) run(command *cobra.Command) error {
	o.typed = bufio.NewReader(command.InOrStdin())
	var failures []error
	servers := o.server.Each()
	for _, one := range servers {
		if len(servers) > 1 {
			command.PrintErrf("%s: ", one.Server)
		}
		if err := o.runAt(command, &one); err != nil {
			failures = append(failures, err)
			if len(servers) > 1 {
				command.PrintErrln("failed")
			}
		}
	}
	return errors.Join(failures...)
}

func (o *options) runAt(command *cobra.Command, server *ask.Flags) error {
	problems, err := ask.With(command.Context(), server, func(ctx context.Context, client *ask.Client) (*introspectionv1.ListProblemsResponse, error) {
		return client.ListProblems(ctx, &introspectionv1.ListProblemsRequest{})
	})
	if err != nil {
		return err
	}
	held := problems.GetBrake()
	if held == nil {
		command.PrintErrln("nothing is held back")
		return nil
	}
	if confirmed, err := o.confirmed(command, held); err != nil || !confirmed {
		return err
	}
	response, err := ask.With(command.Context(), server, func(ctx context.Context, client *ask.Client) (*adminv1.ReleaseBrakeResponse, error) {
		return release(ctx, client, held.GetServices())
	})
	if err != nil {
		return err
	}
	return o.format.Print(command.OutOrStdout(), response, func(w io.Writer) error { return tell(w, response) })
}

// batch is how many Services are named in one request: names of them fit its bound of
// 1 MiB, whatever their length.
const batch = 1000

// release releases the named Services and, which needs no name, nodes.
func release(ctx context.Context, client adminv1.AdminServiceClient, names []string) (*adminv1.ReleaseBrakeResponse, error) {
	all := &adminv1.ReleaseBrakeResponse{}
	for first := true; first || len(names) > 0; first = false {
		some := names[:min(batch, len(names))]
		response, err := client.ReleaseBrake(ctx, &adminv1.ReleaseBrakeRequest{Services: some})
		if err != nil {
			return nil, err
		}
		all.Released = append(all.Released, response.GetReleased()...)
		all.Held, all.NodesReleased = response.GetHeld(), all.GetNodesReleased() || response.GetNodesReleased()
		names = names[len(some):]
	}
	return all, nil
}

// confirmed asks the person at the terminal, if --yes does not answer.
func (o *options) confirmed(command *cobra.Command, held *introspectionv1.Brake) (bool, error) {
	if o.yes {
		return true, nil
	}
	if !o.terminal() {
		return false, errors.New("--yes is not given: expected it where there is no terminal to ask at")
	}
	if n := held.GetHeldByNodes(); n > 0 {
		command.PrintErrf("nodes hold %d Services or more, and far fewer are there since the control plane has started\n", n)
	}
	if names := held.GetServices(); len(names) > 0 {
		command.PrintErrf("%d of %d Services are gone from the source, and nodes keep them: %s\n", len(names), held.GetServed(), some(names))
	}
	command.PrintErr("Have nodes remove them? [y/N] ")
	answer, _ := o.typed.ReadString('\n') // None is no.
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	command.PrintErrln("nothing was released")
	return false, nil
}

func tell(w io.Writer, response *adminv1.ReleaseBrakeResponse) error {
	line := "nothing was held back any more"
	if response.GetNodesReleased() {
		line = "released the nodes that hold more Services than there are"
	}
	if released := response.GetReleased(); len(released) > 0 {
		line = fmt.Sprintf("released the removal of %d Services: %s", len(released), some(released))
	}
	if held := response.GetHeld(); held > 0 {
		line += fmt.Sprintf("\n%d removals came meanwhile and still wait", held)
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// some names the first few.
func some(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

func isTerminal() bool { return term.IsTerminal(int(os.Stdin.Fd())) }
