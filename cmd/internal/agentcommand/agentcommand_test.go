package agentcommand

import (
	"errors"
	"strings"
	"testing"
)

func TestTheNodesNameIsTheFlagOrTheHostName(t *testing.T) {
	errHost := errors.New("no name")
	tests := map[string]struct {
		flag, host string
		hostErr    error
		want       string
		wantErr    string
	}{
		"the host name without a flag":            {host: "Node-A\n", want: "node-a"},
		"the flag over the host name":             {flag: "node-b", host: "node-a", want: "node-b"},
		"the flag where there is no host name":    {flag: "node-b", hostErr: errHost, want: "node-b"},
		"without blanks and in lower case":        {flag: " Node-B.Example.COM ", want: "node-b.example.com"},
		"a blank flag is refused by name":         {flag: "  ", host: "node-a", wantErr: `--node "  "`},
		"so is a blank host name":                 {host: " ", wantErr: `--node is not given and the host name is " "`},
		"and a host name that cannot be read out": {hostErr: errHost, wantErr: "--node is not given and there is no host name: no name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := nodeName(test.flag, func() (string, error) { return test.host, test.hostErr })
			if got != test.want || (err == nil) != (test.wantErr == "") {
				t.Errorf("%q, %v; want %q, %q", got, err, test.want, test.wantErr)
			}
			if err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("error %v, want one with %s", err, test.wantErr)
			}
		})
	}
}

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
