// Package tlsflags makes transport credentials from a program's flags.
package tlsflags

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Flags name the certificate files of one side of a connection.
type Flags struct {
	CA, Cert, Key string
	// ServerName is whom a client expects in the server's certificate, if not the name
	// that it connects to.
	ServerName string
	Insecure   bool
}

// RegisterServer adds a server's flags to a set.
func (f *Flags) RegisterServer(flags *pflag.FlagSet) {
	flags.StringVar(&f.CA, "tls-ca-file", "", "PEM file with the CA that signs the certificates of agents")
	f.register(flags)
}

// RegisterClient adds a client's flags to a set.
func (f *Flags) RegisterClient(flags *pflag.FlagSet) {
	flags.StringVar(&f.CA, "tls-ca-file", "", "PEM file with the CA that signs the certificates of control planes")
	flags.StringVar(&f.ServerName, "tls-server-name", "", "name that the control planes' certificates are for (default: what is connected to)")
	f.register(flags)
}

func (f *Flags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.Cert, "tls-cert-file", "", "PEM file with this program's certificate")
	flags.StringVar(&f.Key, "tls-key-file", "", "PEM file with this program's private key")
	flags.BoolVar(&f.Insecure, "insecure", false, "talk in plaintext without authentication, even beyond loopback")
}

var (
	errServerPlaintext = errors.New("no TLS files: expected --tls-cert-file and --tls-key-file, or --insecure")
	errClientPlaintext = errors.New("no TLS files: expected --tls-ca-file, or --insecure")
	errHalf            = errors.New("expected both of --tls-cert-file and --tls-key-file, or neither")
	errNoCertificate   = errors.New("--tls-ca-file: expected --tls-cert-file and --tls-key-file with it")
	errNoCA            = errors.New("--tls-cert-file: expected --tls-ca-file with it, to know the control planes by")
)

// Server returns a server's credentials, or nil for plaintext, which is allowed on
// loopback addresses and with --insecure. With a CA, clients must show a certificate.
func (f *Flags) Server(address net.Addr) (credentials.TransportCredentials, error) {
	switch {
	case (f.Cert == "") != (f.Key == ""):
		return nil, errHalf
	case f.Cert == "" && f.CA != "":
		return nil, errNoCertificate
	case f.Cert == "":
		if f.Insecure || IsLocal(address) {
			return nil, nil
		}
		return nil, errServerPlaintext
	}
	config, err := f.serverConfig()
	if err != nil {
		return nil, err
	}
	// Read at each handshake, so that renewed files need no restart.
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.serverConfig() }
	return credentials.NewTLS(config), nil
}

func (f *Flags) serverConfig() (*tls.Config, error) {
	config, err := f.config()
	if err == nil && f.CA != "" {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, config.RootCAs
	}
	if err == nil {
		config.NextProtos = []string{http2}
	}
	return config, err
}

// http2 is what gRPC speaks by TLS; a configuration that is made for a handshake must say
// so itself.
const http2 = "h2"

// Client returns a client's credentials. Plaintext needs --insecure unless all
// servers are local.
func (f *Flags) Client(servers []string) (credentials.TransportCredentials, error) {
	switch {
	case (f.Cert == "") != (f.Key == ""):
		return nil, errHalf
	case f.Cert != "" && f.CA == "":
		return nil, errNoCA
	case f.CA == "":
		for _, server := range servers {
			if !f.Insecure && !IsLocalName(server) {
				return nil, fmt.Errorf("--server %s: %w", server, errClientPlaintext)
			}
		}
		return insecure.NewCredentials(), nil
	}
	now, err := f.clientCredentials()
	if err != nil {
		return nil, err
	}
	return &fresh{now, f.clientCredentials}, nil
}

func (f *Flags) clientCredentials() (credentials.TransportCredentials, error) {
	config, err := f.config()
	if err != nil {
		return nil, err
	}
	config.ServerName = f.ServerName
	return credentials.NewTLS(config), nil
}

// fresh are a client's credentials that are read again for each handshake.
type fresh struct {
	credentials.TransportCredentials
	read func() (credentials.TransportCredentials, error)
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *fresh) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	now, err := c.read()
	if err != nil {
		return nil, nil, err
	}
	return now.ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (c *fresh) Clone() credentials.TransportCredentials {
	return &fresh{c.TransportCredentials.Clone(), c.read}
}

// Plaintext tells whether there are no TLS files.
func (f *Flags) Plaintext() bool { return f.CA == "" && f.Cert == "" }

func (f *Flags) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if f.CA != "" {
		pool, err := authorities(f.CA)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca-file %s: %w", f.CA, err)
		}
		config.RootCAs = pool
	}
	if f.Cert == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert-file %s, --tls-key-file %s: %w", f.Cert, f.Key, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// IsLocal tells whether only this machine can reach an address.
func IsLocal(address net.Addr) bool {
	switch a := address.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	default:
		return false
	}
}

// IsLocalName is IsLocal for what a client connects to: host:port, or unix:PATH.
func IsLocalName(server string) bool {
	if len(server) > 5 && server[:5] == "unix:" {
		return true
	}
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return false
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
