// Command knock opens a stream on a control plane's port as an agent would, with what it is
// given to show, and prints what becomes of it: the status, and the names of the resources of
// the first transaction.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
)

type options struct {
	server, ca, name, cert, key, node string
	headers                           []string
	tls12                             bool
	stay                              time.Duration
	halfClose                         bool
}

// result is what is printed.
type result struct {
	Code, Message string
	Resources     []string
	// Lasted is how long the stream was open, in seconds.
	Lasted float64
}

func main() {
	var o options
	pflag.StringVar(&o.server, "server", "", "host:port")
	pflag.StringVar(&o.ca, "ca", "", "PEM file with the CA; empty means plaintext")
	pflag.StringVar(&o.name, "name", "", "name expected in the certificate")
	pflag.StringVar(&o.cert, "cert", "", "PEM file with a certificate to show")
	pflag.StringVar(&o.key, "key", "", "PEM file with its key")
	pflag.StringVar(&o.node, "node", "", "node to ask for")
	pflag.StringArrayVar(&o.headers, "authorization", nil, "header to send")
	pflag.BoolVar(&o.tls12, "tls12", false, "speak TLS 1.2 at most")
	pflag.BoolVar(&o.halfClose, "half-close", false, "send nothing after the subscription")
	pflag.DurationVar(&o.stay, "stay", 0, "stay this long after the first transaction")
	pflag.Parse()
	begun := time.Now()
	names, err := o.knock()
	state := status.Convert(err)
	if errors.Is(err, io.EOF) {
		state = status.New(codes.OK, "ended in good order")
	}
	text, err := json.Marshal(result{state.Code().String(), state.Message(), names, time.Since(begun).Seconds()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(text))
}

func (o *options) knock() (names []string, err error) {
	transport, err := o.transport()
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+o.server, grpc.WithTransportCredentials(transport), grpc.WithNoProxy())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience+o.stay)
	defer cancel()
	for _, header := range o.headers {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", header)
	}
	stream, err := discoveryv1.NewDiscoveryServiceClient(conn).StreamDeltas(ctx)
	if err != nil {
		return nil, err
	}
	_ = stream.Send(&discoveryv1.StreamDeltasRequest{Request: &discoveryv1.StreamDeltasRequest_Subscribe{
		Subscribe: &discoveryv1.Subscribe{Node: &discoveryv1.Node{Id: o.node, Instance: "knock"}},
	}})
	if o.halfClose {
		_ = stream.CloseSend()
	}
	for left := o.stay; ; {
		piece, err := stream.Recv()
		if err != nil {
			return names, err
		}
		for _, r := range piece.GetResources() {
			names = append(names, resource.Name{Kind: resource.KindOf(r), Name: r.GetName()}.String())
		}
		if !piece.GetCommit() {
			continue
		}
		if left == 0 {
			return names, nil
		}
		if o.halfClose {
			continue
		}
		_ = stream.Send(&discoveryv1.StreamDeltasRequest{Request: &discoveryv1.StreamDeltasRequest_Ack{
			Ack: &discoveryv1.Ack{ResponseNonce: piece.GetNonce(), Digest: piece.GetDigest()},
		}})
	}
}

func (o *options) transport() (credentials.TransportCredentials, error) {
	if o.ca == "" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: o.name}
	config.RootCAs.AppendCertsFromPEM(pem)
	if o.tls12 {
		config.MaxVersion = tls.VersionTLS12
	}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}
