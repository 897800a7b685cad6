package listen

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// pipes is a listener in memory: it takes what is sent to it.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
	close       sync.Once
}

func newPipes() *pipes { return &pipes{connections: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case connection := <-p.connections:
		return connection, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.connections <- there
	return here, nil
}

// rig is a server in fake time whose address is taken until there is a listener.
type rig struct {
	server
	log      bytes.Buffer
	listener atomic.Pointer[pipes]
	attempts atomic.Int32
	done     chan error
	stop     context.CancelFunc
}

func start(hardFail bool) *rig {
	r := &rig{done: make(chan error, 1)}
	r.server = server{Config: Config{
		Address: "127.0.0.1:10249", Flag: "metrics-bind-address", HardFail: hardFail,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("here")) }),
		Logger:  hclog.New(&hclog.LoggerOptions{Output: &r.log}),
	}, listen: func(context.Context, string, string) (net.Listener, error) {
		r.attempts.Add(1)
		if listener := r.listener.Load(); listener != nil {
			return listener, nil
		}
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: syscall.EADDRINUSE}
	}}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.done <- r.run(ctx) }()
	synctest.Wait()
	return r
}

func TestATakenAddressIsTriedAgainEveryFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(false)
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		if attempts := r.attempts.Load(); attempts != 12 {
			t.Errorf("%d attempts in a minute, want 12", attempts)
		}
		const want = "serving on --metrics-bind-address 127.0.0.1:10249: address already in use"
		if lines := strings.Count(r.log.String(), "\n"); lines != 1 || !strings.Contains(r.log.String(), want) {
			t.Errorf("%d lines, want one with %q:\n%s", lines, want, r.log.String())
		}
		listener := newPipes()
		r.listener.Store(listener)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		client := &http.Client{Transport: &http.Transport{DialContext: listener.dial, DisableKeepAlives: true}}
		response, err := client.Get("http://agent/")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if lines := strings.Count(r.log.String(), "\n"); lines != 2 {
			t.Errorf("%d lines, want one more, that it is served:\n%s", lines, r.log.String())
		}
		r.stop()
		if err := <-r.done; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestAListenerThatBreaksIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(false)
		broken := newPipes()
		r.listener.Store(broken)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		r.listener.Store(newPipes())
		_ = broken.Close()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if attempts := r.attempts.Load(); attempts != 3 {
			t.Errorf("%d attempts, want a third", attempts)
		}
		r.stop()
		if err := <-r.done; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestWithHardFailATakenAddressIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(true)
		err := <-r.done
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "--metrics-bind-address 127.0.0.1:10249") {
			t.Errorf("error %v, want one that names flag and address", err)
		}
		if attempts := r.attempts.Load(); attempts != 1 || r.log.Len() > 0 {
			t.Errorf("%d attempts, logged %q; want one, and nothing: the error is returned", attempts, r.log.String())
		}
	})
}

func TestAnAddressOfTheKernelIsTaken(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	address := strings.TrimPrefix(taken.URL, "http://")
	err := Serve(t.Context(), Config{Address: address, Flag: "healthz-bind-address", HardFail: true})
	if !errors.Is(err, syscall.EADDRINUSE) || strings.Count(err.Error(), address) != 1 {
		t.Errorf("error %v, want one that names %s once", err, address)
	}
}

func TestNoAddressIsServedNowhere(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Serve(ctx, Config{}); err != nil {
		t.Error(err)
	}
}
