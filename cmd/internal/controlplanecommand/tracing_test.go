package controlplanecommand

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTracingFlagsThatMakeNoSenseAreRefusedByName(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, flags := range map[string]tracingFlags{
		`--tracing-endpoint "http://x:4317": expected host:port`:                       {endpoint: "http://x:4317"},
		`--tracing-endpoint "collector": expected host:port`:                           {endpoint: "collector"},
		`--tracing-endpoint ":4317": expected host:port`:                               {endpoint: ":4317"},
		`--tracing-endpoint "x:0": expected host:port`:                                 {endpoint: "x:0"},
		`--tracing-endpoint "x:otlp": expected host:port`:                              {endpoint: "x:otlp"},
		"--tracing-ca-file, --tracing-insecure: expected --tracing-endpoint with them": {ca: garbage},
		"--tracing-ca-file " + garbage + ": expected no --tracing-insecure with it":    {endpoint: "x:1", ca: garbage, insecure: true},
		"--tracing-ca-file " + garbage + ": expected certificates in PEM":              {endpoint: "x:1", ca: garbage},
		"--tracing-ca-file /nowhere: open /nowhere":                                    {endpoint: "127.0.0.1:1", ca: "/nowhere"},
	} {
		if _, err := flags.config(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestTracesLeaveTheMachineInPlaintextOnlyIfSomebodySaysSo.
func TestTracesLeaveTheMachineInPlaintextOnlyIfSomebodySaysSo(t *testing.T) {
	for protocol, all := range map[string][]tracingFlags{
		"insecure": {{endpoint: "127.0.0.1:4317"}, {endpoint: "[::1]:4317"}, {endpoint: "localhost:4317"}, {endpoint: "192.0.2.1:4317", insecure: true}},
		"tls":      {{endpoint: "192.0.2.1:4317"}, {endpoint: "collector.example:4317"}},
	} {
		for _, flags := range all {
			config, err := flags.config()
			if err != nil {
				t.Fatal(err)
			}
			if got := config.TracingCredentials.Info().SecurityProtocol; got != protocol {
				t.Errorf("%s: %s, want %s", flags.endpoint, got, protocol)
			}
		}
	}
	if config, err := (&tracingFlags{rate: 1}).config(); err != nil || config.TracingCredentials != nil {
		t.Errorf("%+v, %v", config, err)
	}
}
