package agentcommand

import (
	"strings"
	"testing"
)

func TestOptionsAreRefusedByName(t *testing.T) {
	for want, arguments := range map[string][]string{
		"--server: expected at least one":                {},
		`--server "192.0.2.1": expected host:port`:       {"--server", "192.0.2.1"},
		`--healthz-bind-address "10256": expected host`:  {"--server", "192.0.2.1:9440", "--healthz-bind-address", "10256"},
		`--metrics-bind-address "nowhere": expected hos`: {"--server", "192.0.2.1:9440", "--metrics-bind-address", "nowhere"},
		`--node " ": expected the name of a Node`:        {"--server", "192.0.2.1:9440", "--node", " "},
	} {
		command := New()
		command.SetArgs(append(arguments, "--checkpoint-file", ""))
		command.SilenceErrors, command.SilenceUsage = true, true
		if err := command.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %s", arguments, err, want)
		}
	}
}

func TestTheFlagsInForceAreServed(t *testing.T) {
	command := New()
	if err := command.ParseFlags([]string{"--node", "node-a", "--server", "192.0.2.1:9440", "--server", "192.0.2.2:9440", "--profiling"}); err != nil {
		t.Fatal(err)
	}
	got := values(command.Flags())
	for name, want := range map[string]string{
		"node": "node-a", "server": "[192.0.2.1:9440,192.0.2.2:9440]", "profiling": "true",
		"healthz-bind-address": "0.0.0.0:10256", "bind-address-hard-fail": "false", "init-timeout": "30s",
	} {
		if got[name] != want {
			t.Errorf("--%s is served as %q, want %q", name, got[name], want)
		}
	}
}
