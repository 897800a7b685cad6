// Package ask connects to a control plane's admin address, and says in one
// line what is wrong when that does not answer.
package ask

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	adminv1 "github.com/portolan-net/portolan/api/portolan/admin/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	rolloutv1 "github.com/portolan-net/portolan/api/portolan/rollout/v1"
	"github.com/portolan-net/portolan/cmd/internal/tlsflags"
	"github.com/portolan-net/portolan/cmd/internal/tokenfile"
)

const (
	defaultServer = "127.0.0.1:9441"
	// environment overrides defaultServer.
	environment      = "PORTOLAN_SERVER"
	tokenEnvironment = "PORTOLAN_TOKEN_FILE"
	caEnvironment    = "PORTOLAN_TLS_CA_FILE"
	// maxView bounds an answer; 10,000 Services with 50 endpoints each are 20 MB.
	maxView = 256 << 20
)

// retry spaces attempts to connect of those who ask again and again.
var retry = backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 100 * time.Millisecond}

// Flags say which control plane to ask.
type Flags struct {
	Server  string
	Timeout time.Duration
	// token and tls are for a control plane's --api-listen.
	token, tokenFile string
	tls              tlsflags.Flags
}

// Register adds the flags to a set.
func (f *Flags) Register(flags *pflag.FlagSet) {
	server := defaultServer
	if set := os.Getenv(environment); set != "" {
		server = set
	}
	const patience = 10 * time.Second
	flags.StringVar(&f.Server, "server", server, "admin addresses of the control planes, host:port or unix:PATH, separated by commas; also "+environment)
	flags.StringVar(&f.tokenFile, "token-file", os.Getenv(tokenEnvironment), "file with a token for a control plane's --api-listen; also "+tokenEnvironment)
	flags.StringVar(&f.token, "token", "", "the token itself, such as kubectl create token prints")
	flags.StringVar(&f.tls.CA, "tls-ca-file", os.Getenv(caEnvironment), "PEM file with the CA of the control planes, for --api-listen; also "+caEnvironment)
	flags.StringVar(&f.tls.ServerName, "tls-server-name", "", "name that the control plane's certificate is for (default: what is connected to)")
	flags.DurationVar(&f.Timeout, "timeout", patience, "how long to wait for an answer")
}

// Client asks one control plane.
type Client struct {
	introspectionv1.IntrospectionServiceClient
	adminv1.AdminServiceClient
	rolloutv1.RolloutServiceClient
	server     string
	connection *grpc.ClientConn

	mu        sync.Mutex
	dialError error
}

// Connect returns a client. Nothing is sent before the first question.
func (f *Flags) Connect() (*Client, error) {
	client := &Client{server: f.Server}
	if _, isUnix := unixPath(f.Server); !isUnix {
		if _, _, err := net.SplitHostPort(f.Server); err != nil {
			return nil, fmt.Errorf("--server %q: expected host:port or unix:PATH", f.Server)
		}
	}
	identity, err := f.credentials()
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient("passthrough:///"+f.Server, append(identity, grpc.WithContextDialer(client.dial),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: time.Second}), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxView)))...)
	if err != nil {
		return nil, fmt.Errorf("--server %q: %w", f.Server, err)
	}
	client.connection = connection
	client.IntrospectionServiceClient = introspectionv1.NewIntrospectionServiceClient(connection)
	client.RolloutServiceClient = rolloutv1.NewRolloutServiceClient(connection)
	client.AdminServiceClient = adminv1.NewAdminServiceClient(connection)
	return client, nil
}

// Each returns the flags for each of the control planes alone, which --server separates by commas.
func (f *Flags) Each() []Flags {
	var all []Flags
	for server := range strings.SplitSeq(f.Server, ",") {
		one := *f
		one.Server = strings.TrimSpace(server)
		all = append(all, one)
	}
	return all
}

// ConnectAll returns a client for each of the control planes of the flag, which are separated by
// commas, and what closes them.
func (f *Flags) ConnectAll() (clients []*Client, done func(), err error) {
	done = func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}
	for _, one := range f.Each() {
		client, err := one.Connect()
		if err != nil {
			done()
			return nil, nil, err
		}
		clients = append(clients, client)
	}
	return clients, done, nil
}

// Server returns the address that the client asks.
func (c *Client) Server() string { return c.server }

// credentials are how the control plane is known, and how we are to it.
func (f *Flags) credentials() ([]grpc.DialOption, error) {
	plaintext := f.tls.CA == ""
	var options []grpc.DialOption
	if plaintext {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
	} else {
		transport, err := f.tls.Client(nil)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(transport))
	}
	switch {
	case f.token != "" && f.tokenFile != "":
		return nil, errors.New("--token and --token-file: expected one of them")
	case f.token == "" && f.tokenFile == "":
		return options, nil
	case plaintext && !tlsflags.IsLocalName(f.Server):
		return nil, fmt.Errorf("--server %s: expected --tls-ca-file: a token is not sent in plaintext", f.Server)
	case f.token != "":
		return append(options, grpc.WithPerRPCCredentials(tokenfile.Credentials{Token: f.token, Plaintext: plaintext})), nil
	}
	if _, err := tokenfile.Read(f.tokenFile); err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	return append(options, grpc.WithPerRPCCredentials(tokenfile.Credentials{Path: f.tokenFile, Plaintext: plaintext})), nil
}

// Close closes the connection.
func (c *Client) Close() error { return c.connection.Close() }

// dial remembers why it failed: gRPC's own error buries it.
func (c *Client) dial(ctx context.Context, server string) (net.Conn, error) {
	network := "tcp"
	if path, isUnix := unixPath(server); isUnix {
		network, server = "unix", path
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, network, server)
	c.mu.Lock()
	c.dialError = err
	c.mu.Unlock()
	return connection, err
}

func unixPath(server string) (string, bool) { return strings.CutPrefix(server, "unix:") }

// Explain makes the error of a question one that says what to do.
func (c *Client) Explain(err error) error {
	if err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	const expected = "expected the admin address of a running portolan-controlplane (its --admin-listen); set --server or " + environment
	state := status.Convert(err)
	switch {
	case c.dialError != nil:
		return fmt.Errorf("no control plane at %s: %w; %s", c.server, cause(c.dialError), expected)
	case state.Code() == codes.Unimplemented:
		return fmt.Errorf("%s is not an admin address, it cannot be asked; %s", c.server, expected)
	case state.Code() == codes.DeadlineExceeded:
		return fmt.Errorf("no answer from %s in time; %s", c.server, expected)
	case state.Code() == codes.Unavailable && brokenOff(state.Message()):
		return fmt.Errorf("%s does not speak gRPC, or broke off; %s", c.server, expected)
	default:
		return errors.New(state.Message())
	}
}

// brokenOff tells the transport's own messages from those of a control plane that
// is unavailable for a reason of its own.
func brokenOff(message string) bool {
	for _, sign := range []string{"connection error", "broken pipe", "connection reset", "error reading", "transport is closing"} {
		if strings.Contains(message, sign) {
			return true
		}
	}
	return false
}

// cause leaves out of a dial error what the message says already.
func cause(err error) error {
	var system *os.SyscallError
	if errors.As(err, &system) {
		return system.Err
	}
	return err
}
