// Package tlsflags makes transport credentials from a program's flags.
package tlsflags

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Flags name the certificate files of one side of a connection.
type Flags struct {
	CA, Cert, Key string
	Insecure      bool
}

// Register adds the flags to a set; peer says whose certificates the CA signs.
func (f *Flags) Register(flags *pflag.FlagSet, peer string) {
	flags.StringVar(&f.CA, "tls-ca-file", "", "PEM file with the CA that signs the certificates of "+peer)
	flags.StringVar(&f.Cert, "tls-cert-file", "", "PEM file with this program's certificate")
	flags.StringVar(&f.Key, "tls-key-file", "", "PEM file with this program's private key")
	flags.BoolVar(&f.Insecure, "insecure", false, "talk in plaintext without authentication, even beyond loopback")
}

var (
	errPlaintext = errors.New("no TLS files: expected --tls-ca-file, --tls-cert-file and --tls-key-file, or --insecure")
	errPartial   = errors.New("expected all of --tls-ca-file, --tls-cert-file and --tls-key-file, or none")
)

// Server returns a server's credentials, or nil for plaintext, which is allowed on
// loopback addresses and with --insecure.
func (f *Flags) Server(address net.Addr) (credentials.TransportCredentials, error) {
	if f.CA == "" && f.Cert == "" && f.Key == "" {
		if f.Insecure || isLocal(address) {
			return nil, nil
		}
		return nil, errPlaintext
	}
	config, err := f.config()
	if err != nil {
		return nil, err
	}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, config.RootCAs
	return credentials.NewTLS(config), nil
}

// Client returns a client's credentials. Plaintext needs --insecure unless all
// servers are local.
func (f *Flags) Client(servers []string) (credentials.TransportCredentials, error) {
	if f.CA == "" && f.Cert == "" && f.Key == "" {
		for _, server := range servers {
			if !f.Insecure && !isLocalName(server) {
				return nil, fmt.Errorf("--server %s: %w", server, errPlaintext)
			}
		}
		return insecure.NewCredentials(), nil
	}
	config, err := f.config()
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(config), nil
}

func (f *Flags) config() (*tls.Config, error) {
	if f.CA == "" || f.Cert == "" || f.Key == "" {
		return nil, errPartial
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("--tls-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--tls-ca-file %s: expected certificates in PEM", f.CA)
	}
	if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		return nil, fmt.Errorf("--tls-cert-file %s, --tls-key-file %s: %w", f.Cert, f.Key, err)
	}
	// Read at each handshake, so that a renewed certificate needs no restart.
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		return &pair, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() },
	}, nil
}

// isLocal tells whether only this machine can reach an address.
func isLocal(address net.Addr) bool {
	switch a := address.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	default:
		return false
	}
}

func isLocalName(server string) bool {
	if len(server) > 5 && server[:5] == "unix:" {
		return true
	}
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return false
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
