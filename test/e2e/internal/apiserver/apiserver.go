package apiserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// ServiceCIDR is where Services get their ClusterIPs: a range for documentation,
// so that it is nobody's network.
const ServiceCIDR = "198.51.100.0/24"

// startTimeout is generous: a machine may build something else meanwhile.
const startTimeout = 2 * time.Minute

// Server is a running API server.
type Server struct {
	// Kubeconfig is the path of a file that gives all rights.
	Kubeconfig string
	// Client has all rights and no rate limit.
	Client kubernetes.Interface

	config *clientcmdapi.Config
	port   int
	stop   []func()
}

// Start runs an API server with its files in dir, among them apiserver.log, and
// returns when it is ready. Flags are added to those of kube-apiserver. The log is
// that of the last server that was started, so one process has one at a time.
func Start(ctx context.Context, dir string, flags ...string) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s := &Server{Kubeconfig: filepath.Join(dir, "kubeconfig")}
	if err := s.start(ctx, dir, flags); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// Stop ends the API server and its etcd.
func (s *Server) Stop() {
	for i := len(s.stop) - 1; i >= 0; i-- {
		s.stop[i]()
	}
	s.stop = nil
}

func (s *Server) start(ctx context.Context, dir string, extra []string) error {
	etcd, stopEtcd, err := startEtcd(ctx, dir)
	if err != nil {
		return err
	}
	s.stop = append(s.stop, stopEtcd)
	port, err := freePort()
	if err != nil {
		return err
	}
	flags, token, err := writeFiles(dir)
	if err != nil {
		return err
	}
	flags = append(flags,
		"--etcd-servers="+etcd,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
		"--service-cluster-ip-range="+ServiceCIDR,
		"--authorization-mode=RBAC",
		"--allow-privileged=true", // As everywhere. It counts for the whole process.
		// It would make every namespace wait for a controller that is not there.
		"--disable-admission-plugins=ServiceAccount",
		// It would write Endpoints with an address that Endpoints must not have.
		"--endpoint-reconciler-type=none",
	)
	if err := logTo(filepath.Join(dir, "apiserver.log")); err != nil {
		return err
	}
	exited, err := s.serve(append(flags, extra...))
	if err != nil {
		return err
	}
	if err := s.connect(dir, port, token); err != nil {
		return err
	}
	return s.waitReady(ctx, exited)
}

// serve does what the command kube-apiserver does, but for its handling of
// signals, of which a process can have only one.
func (s *Server) serve(flags []string) (<-chan error, error) {
	run := options.NewServerRunOptions()
	set := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, named := range run.Flags().FlagSets {
		set.AddFlagSet(named)
	}
	if err := set.Parse(flags); err != nil {
		return nil, fmt.Errorf("flags of kube-apiserver: %w", err)
	}
	if err := run.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return nil, fmt.Errorf("feature gates of kube-apiserver: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	completed, err := run.Complete(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("completing the flags of kube-apiserver: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		cancel()
		return nil, fmt.Errorf("flags of kube-apiserver: %w", errors.Join(errs...))
	}
	exited, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		exited <- app.Run(ctx, completed)
	}()
	s.stop = append(s.stop, func() {
		cancel()
		<-done
	})
	return exited, nil
}

// connect writes the kubeconfig and makes the client.
func (s *Server) connect(dir string, port int, token string) error {
	const name = "test"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{
		Server: fmt.Sprintf("https://127.0.0.1:%d", port),
		// The server makes this certificate, which is its own authority, at start.
		CertificateAuthority: filepath.Join(dir, "certs", "apiserver.crt"),
	}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	s.config, s.port = config, port
	if err := clientcmd.WriteToFile(*config, s.Kubeconfig); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return nil
}

// WriteKubeconfigFor writes a file like Kubeconfig for those who reach the server by
// another address, which takes "--bind-address=0.0.0.0" among the flags.
func (s *Server) WriteKubeconfigFor(address, path string) error {
	config := s.config.DeepCopy()
	for _, server := range config.Clusters {
		server.Server = fmt.Sprintf("https://%s:%d", address, s.port)
		server.TLSServerName = "kubernetes" // A name in every certificate that the server makes.
	}
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("writing the kubeconfig for %s: %w", address, err)
	}
	return nil
}

// Config is what a client with all rights is made of.
func (s *Server) Config() (*rest.Config, error) {
	return clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
}

// WriteKubeconfigAs writes a file like Kubeconfig for the bearer of a token.
func (s *Server) WriteKubeconfigAs(token, path string) error {
	config := s.config.DeepCopy()
	for _, user := range config.AuthInfos {
		user.Token = token
	}
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return nil
}

func (s *Server) waitReady(ctx context.Context, exited <-chan error) error {
	var last error
	for {
		if last = s.ready(ctx); last == nil {
			return nil
		}
		select {
		case err := <-exited:
			return errors.Join(errors.New("the API server has ended"), err)
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready: %w", last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *Server) ready(ctx context.Context) error {
	if s.Client == nil {
		config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
		if err != nil {
			return err
		}
		config.QPS = -1
		// Fails until the server has written its certificate.
		if _, err := rest.TLSConfigFor(config); err != nil {
			return err
		}
		if s.Client, err = kubernetes.NewForConfig(config); err != nil {
			return err
		}
	}
	var status int
	err := s.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status).Error()
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/readyz: status %d", status)
	}
	return err
}

// writeFiles makes what the server authenticates with.
func writeFiles(dir string) (flags []string, token string, err error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, "", err
	}
	token = hex.EncodeToString(random[:])
	tokens := filepath.Join(dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte(token+",admin,admin,system:masters\n"), 0o600); err != nil {
		return nil, "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, "", err
	}
	accounts := filepath.Join(dir, "service-accounts.key")
	if err := os.WriteFile(accounts, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return nil, "", err
	}
	return []string{
		"--cert-dir=" + filepath.Join(dir, "certs"),
		"--token-auth-file=" + tokens,
		"--service-account-issuer=https://portolan.test",
		"--service-account-key-file=" + accounts,
		"--service-account-signing-key-file=" + accounts,
	}, token, nil
}

// logTo sends what the API server logs, which goes to the logger of the whole
// process, to a file.
func logTo(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("the API server's log: %w", err)
	}
	klog.LogToStderr(false)
	klog.SetOutput(file)
	return nil
}

// freePort returns a port that was free a moment ago. kube-apiserver cannot be
// given a listener or tell which port it took.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
