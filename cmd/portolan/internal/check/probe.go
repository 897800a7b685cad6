package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/portolan-net/portolan/agent"
	"github.com/portolan-net/portolan/cmd/portolan/internal/sandbox"
)

// probeName is the hidden command that is run in a namespace to throw away.
const probeName = "probe-kernel"

func probeCommand() *cobra.Command {
	return &cobra.Command{
		Use: probeName, Short: "Probe the kernel, in a namespace to throw away", Hidden: true, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if sandbox.Directory() == "" {
				return errors.New("expected to be run by portolan check, in a namespace to throw away")
			}
			text, err := json.Marshal(agent.ProbeKernel(command.Context()))
			if err == nil {
				_, err = command.OutOrStdout().Write(text)
			}
			return err
		},
	}
}

// probe runs this program in a namespace to throw away.
func probe(ctx context.Context) (agent.ProbedKernel, error) {
	var out, said bytes.Buffer
	err := sandbox.Run(ctx, sandbox.Config{
		What: "the check", Arguments: []string{"check", probeName}, Directory: "/", Out: &out, Err: &said, AsRoot: true,
	})
	if errors.Is(err, sandbox.ErrFailed) {
		return nil, fmt.Errorf("probing the kernel: %s", strings.TrimSpace(said.String()))
	}
	if err != nil {
		return nil, err
	}
	var probed agent.ProbedKernel
	if err := json.Unmarshal(out.Bytes(), &probed); err != nil {
		return nil, fmt.Errorf("probing the kernel: %w", err)
	}
	return probed, nil
}
