package controlplanecommand

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/portolan-net/portolan/cmd/internal/tlsflags"
	"github.com/portolan-net/portolan/controlplane"
)

// tracingFlags say where traces go.
type tracingFlags struct {
	endpoint, ca string
	rate         int
	insecure     bool
}

func (f *tracingFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.endpoint, "tracing-endpoint", "", "host:port of an OpenTelemetry collector (OTLP over gRPC) to send traces of revisions to; empty means nowhere")
	flags.IntVar(&f.rate, "tracing-sampling-rate-per-million", controlplane.DefaultTracingSamplingRatePerMillion, "how many of a million revisions are traced")
	flags.StringVar(&f.ca, "tracing-ca-file", "", "PEM file with the CA that signs the collector's certificate (default: the CAs of the system)")
	flags.BoolVar(&f.insecure, "tracing-insecure", false, "send traces in plaintext, even beyond loopback")
}

// config checks the flags. Plaintext is for collectors on this machine, unless somebody says
// otherwise: traces name Services and nodes.
func (f *tracingFlags) config() (controlplane.TracingConfig, error) {
	config := controlplane.TracingConfig{TracingEndpoint: f.endpoint, TracingSamplingRatePerMillion: f.rate}
	if f.endpoint == "" {
		if f.ca != "" || f.insecure {
			return config, errors.New("--tracing-ca-file, --tracing-insecure: expected --tracing-endpoint with them")
		}
		return config, nil
	}
	host, port, err := net.SplitHostPort(f.endpoint)
	if number, portErr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || portErr != nil || number == 0 {
		return config, fmt.Errorf("--tracing-endpoint %q: expected host:port of a collector that takes OTLP over gRPC, such as collector.example:4317", f.endpoint)
	}
	switch {
	case f.ca != "" && f.insecure:
		return config, fmt.Errorf("--tracing-ca-file %s: expected no --tracing-insecure with it", f.ca)
	case f.insecure, f.ca == "" && tlsflags.IsLocalName(f.endpoint):
		config.TracingCredentials = insecure.NewCredentials()
	default:
		if config.TracingCredentials, err = tlsflags.Trusting(f.ca); err != nil {
			return config, fmt.Errorf("--tracing-ca-file %s: %w", f.ca, err)
		}
	}
	return config, nil
}
