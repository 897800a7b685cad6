package nodename

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
			got, err := Of(test.flag, func() (string, error) { return test.host, test.hostErr })
			if got != test.want || (err == nil) != (test.wantErr == "") {
				t.Errorf("%q, %v; want %q, %q", got, err, test.want, test.wantErr)
			}
			if err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("error %v, want one with %s", err, test.wantErr)
			}
		})
	}
}
