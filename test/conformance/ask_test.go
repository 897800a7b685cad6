package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/conformance/internal/lab"
	"github.com/portolan-net/portolan/test/conformance/internal/scenario"
)

// promptness is how long an HTTP server may take to be what it should be.
const promptness = 5 * time.Second

// ask asks the node's HTTP servers.
func (w *world) ask(t *testing.T, s *scenario.Scenario, step *scenario.Step) {
	for _, a := range step.Asks {
		t.Run(probeName(s, step, a.Rules, a.Text), func(t *testing.T) {
			place, err := w.Find(a.Source)
			if err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(promptness)
			for {
				complaint := get(place, a)
				if complaint == "" {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s: %s", a.Text, complaint)
				}
				time.Sleep(aMoment)
			}
		})
	}
}

// get makes one request and says what is not as expected.
func get(place *lab.Place, a scenario.Ask) string {
	var got string
	var status int
	err := place.In.Do(func() error {
		// The connection is made here, in the place's namespace, and not on another
		// thread.
		var dialer net.Dialer
		address := strings.SplitN(strings.TrimPrefix(a.URL, "http://"), "/", 2)[0]
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		connection, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer connection.Close()
		client := http.Client{Timeout: patience, Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return connection, nil },
		}}
		response, err := client.Get(a.URL)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		status = response.StatusCode
		var headers strings.Builder
		for name, values := range response.Header {
			fmt.Fprintf(&headers, "%s:%s\n", name, strings.Join(values, ","))
		}
		got = headers.String() + string(body)
		return err
	})
	switch {
	case a.Status == 0 && errors.Is(err, syscall.ECONNREFUSED):
		return ""
	case err != nil:
		return err.Error()
	case a.Status != status:
		return fmt.Sprintf("answers %d\n%s", status, got)
	}
	for _, text := range a.Has {
		if !strings.Contains(got, text) {
			return fmt.Sprintf("the answer lacks %s:\n%s", text, got)
		}
	}
	return ""
}
