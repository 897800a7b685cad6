package tlsflags

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"google.golang.org/grpc/credentials"
)

// Trusting returns the credentials of a client that shows no certificate, for servers whose
// certificates the CA in a file has signed, or one of the system's if the path is empty.
func Trusting(path string) (credentials.TransportCredentials, error) {
	read := func() (credentials.TransportCredentials, error) {
		pool, err := authorities(path)
		if err != nil {
			return nil, err
		}
		return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}), nil
	}
	now, err := read()
	if err != nil {
		return nil, err
	}
	return &fresh{now, read}, nil
}

var errNoPEM = errors.New("expected certificates in PEM")

// authorities returns the CAs in a file; nil, for no file, are those of the system.
func authorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errNoPEM
	}
	return pool, nil
}
