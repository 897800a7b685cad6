package unused

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
)

func TestWhoMayAskAboutWhat(t *testing.T) {
	h := New(Config{Addresses: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil }})
	for _, test := range []struct {
		from, query string
		address     string
		code        int
		want        string
	}{
		{"10.244.1.5:40000", "", "10.244.1.5", 0, ""},
		{"[::ffff:10.244.1.5]:40000", "", "10.244.1.5", 0, ""},
		{"[fd00::5]:40000", "address=fd00::5", "fd00::5", 0, ""},
		{"127.0.0.1:40000", "address=10.244.1.5", "10.244.1.5", 0, ""},
		{"192.0.2.1:40000", "address=10.244.1.5", "10.244.1.5", 0, ""},
		{"10.244.1.5:40000", "address=10.244.1.5&timeout=45s&excuse-after=5s", "10.244.1.5", 0, ""},
		{"10.244.1.5:40000", "address=10.244.1.6", "", http.StatusForbidden, "10.244.1.5 may ask about itself alone"},
		{"127.0.0.1:40000", "", "", http.StatusBadRequest, "expected address=IP"},
		{"127.0.0.1:40000", "address=web", "", http.StatusBadRequest, `address="web": expected an IP address`},
		{"10.244.1.5:40000", "timeout=45", "", http.StatusBadRequest, `timeout="45": expected a duration`},
		{"10.244.1.5:40000", "timeout=1h", "", http.StatusBadRequest, "up to 10m0s"},
		{"10.244.1.5:40000", "excuse-after=-1s", "", http.StatusBadRequest, "excuse-after"},
	} {
		r := httptest.NewRequest(http.MethodGet, Path+"?"+test.query, nil)
		r.RemoteAddr = test.from
		q, code, err := h.parse(r)
		if code != test.code || err != nil && !strings.Contains(err.Error(), test.want) || err == nil && q.address.String() != test.address {
			t.Errorf("%s %s: %v, %d, %v: want %s, %d %q", test.from, test.query, q, code, err, test.address, test.code, test.want)
		}
	}
}

// TestWithoutAControlPlaneItIsNotClaimed that nobody sends.
func TestWithoutAControlPlaneItIsNotClaimed(t *testing.T) {
	h := New(Config{Servers: []string{"192.0.2.1:9440"}, Logger: hclog.NewNullLogger(),
		Dial: func(string) (*grpc.ClientConn, error) { return nil, errors.New("no way there") }})
	r := httptest.NewRequest(http.MethodGet, Path, nil)
	r.RemoteAddr = "10.244.1.5:40000"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "no way there") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestNotTooManyWait at the same time.
func TestNotTooManyWait(t *testing.T) {
	h := New(Config{Logger: hclog.NewNullLogger()})
	for range maxWaiting {
		h.slots <- struct{}{}
	}
	r := httptest.NewRequest(http.MethodGet, Path+"?timeout="+time.Second.String(), nil)
	r.RemoteAddr = "10.244.1.5:40000"
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusTooManyRequests {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
