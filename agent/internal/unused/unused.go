// Package unused tells a pod on the node whether anybody still sends new connections to it: a
// preStop hook waits for that instead of sleeping. It asks all control planes, as the agent
// that it belongs to.
package unused

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	rolloutv1 "github.com/portolan-net/portolan/api/portolan/rollout/v1"
	"github.com/portolan-net/portolan/api/rollout"
)

// Path is where it is asked.
const Path = "/endpoint-unused"

const (
	// patience is how long it is waited for unless the question says otherwise, and the
	// longest that it may say.
	patience, maxPatience = 30 * time.Second, 10 * time.Minute
	// absent is after how long nodes that no control plane is connected to are not waited for:
	// they come back within seconds after a replica was lost, or are gone.
	absent = 30 * time.Second
	// maxWaiting bounds how many wait at the same time.
	maxWaiting = 64
)

// Config says whom to ask.
type Config struct {
	// Servers are the control planes' addresses, as of the agent's stream.
	Servers []string
	// Dial connects to one.
	Dial func(server string) (*grpc.ClientConn, error)
	// Addresses lists the node's own addresses.
	Addresses func() ([]netip.Addr, error)
	Logger    hclog.Logger
}

// Handler answers at Path.
type Handler struct {
	cfg   Config
	slots chan struct{}

	mu    sync.Mutex
	conns []*grpc.ClientConn
}

// New returns a handler. It connects when it is first asked.
func New(cfg Config) *Handler { return &Handler{cfg: cfg, slots: make(chan struct{}, maxWaiting)} }

// Close ends the connections.
func (h *Handler) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, conn := range h.conns {
		errs = append(errs, conn.Close())
	}
	h.conns = nil
	return errors.Join(errs...)
}

// question is what is asked.
type question struct {
	address           netip.Addr
	patience, excused time.Duration
}

// parse reads a question. Who asks from an address of his own may ask about that alone;
// processes of the node may ask about any.
func (h *Handler) parse(r *http.Request) (question, int, error) {
	q := question{patience: patience, excused: absent}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return q, http.StatusBadRequest, fmt.Errorf("address %q of who asks: %w", r.RemoteAddr, err)
	}
	from, err := netip.ParseAddr(host)
	if err != nil {
		return q, http.StatusBadRequest, err
	}
	from = from.Unmap().WithZone("")
	q.address = from
	values := r.URL.Query()
	if text := values.Get("address"); text != "" {
		if q.address, err = netip.ParseAddr(text); err != nil {
			return q, http.StatusBadRequest, fmt.Errorf("address=%q: expected an IP address", text)
		}
		q.address = q.address.Unmap()
		if q.address != from && !from.IsLoopback() && !h.isOwn(from) {
			return q, http.StatusForbidden, fmt.Errorf("address=%s: %s may ask about itself alone", q.address, from)
		}
	}
	if q.address.IsLoopback() {
		return q, http.StatusBadRequest, errors.New("expected address=IP, of a pod")
	}
	for name, into := range map[string]*time.Duration{"timeout": &q.patience, "excuse-after": &q.excused} {
		text := values.Get(name)
		if text == "" {
			continue
		}
		if *into, err = time.ParseDuration(text); err != nil || *into < 0 || *into > maxPatience {
			return q, http.StatusBadRequest, fmt.Errorf("%s=%q: expected a duration up to %s, such as 45s", name, text, maxPatience)
		}
	}
	return q, 0, nil
}

// isOwn tells whether an address is one of the node's.
func (h *Handler) isOwn(address netip.Addr) bool {
	list, err := h.cfg.Addresses()
	return err == nil && slices.Contains(list, address)
}

// ServeHTTP answers 200 once no node sends new connections to the address, 503 if that is not
// so in time, each with a line that says how far it is.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, code, err := h.parse(r)
	if err != nil {
		http.Error(w, err.Error(), code)
		return
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		http.Error(w, fmt.Sprintf("%d wait already: expected fewer", maxWaiting), http.StatusTooManyRequests)
		return
	}
	replicas, err := h.replicas()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), q.patience)
	defer cancel()
	begun := time.Now()
	progress, err := rollout.Wait(ctx, replicas, &rolloutv1.WatchRequest{Absent: q.address.String()}, rollout.Policy{Share: 1, Absent: q.excused}, nil)
	took := time.Since(begun).Round(time.Millisecond)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("not within %s", q.patience)
		}
		h.cfg.Logger.Warn("an endpoint is still in use", "address", q.address, "after", took, "progress", progress.String(), "error", err)
		http.Error(w, fmt.Sprintf("%s is still in use: %s: %s", q.address, err, progress), http.StatusServiceUnavailable)
		return
	}
	h.cfg.Logger.Debug("an endpoint is not in use any more", "address", q.address, "after", took)
	fmt.Fprintf(w, "%s is not in use any more: %s, after %s\n", q.address, progress, took)
}

// replicas returns the control planes, connected once.
func (h *Handler) replicas() ([]rollout.Replica, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns == nil {
		for _, server := range h.cfg.Servers {
			conn, err := h.cfg.Dial(server)
			if err != nil {
				return nil, err
			}
			h.conns = append(h.conns, conn)
		}
	}
	var list []rollout.Replica
	for i, conn := range h.conns {
		list = append(list, rollout.Replica{Name: h.cfg.Servers[i], Client: rolloutv1.NewRolloutServiceClient(conn)})
	}
	return list, nil
}
