package traffic

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

type here struct{}

func (here) Do(f func() error) error { return f() }

func pod(t *testing.T, name string) (*Server, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := Serve(name, listener)
	t.Cleanup(server.Close)
	return server, listener.Addr().String()
}

func TestPodsSayWhoTheyAreAndWhomTheySee(t *testing.T) {
	_, address := pod(t, "a1")
	tally, err := Visits(t.Context(), here{}, address, 5)
	if err != nil {
		t.Fatal(err)
	}
	if tally.String() != "a1 5" || tally.Failed != 0 || tally.Answered() != 5 {
		t.Errorf("tally %+v", tally)
	}
	if seen := tally.Seen(); len(seen) != 1 || seen[0] != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("seen %v", seen)
	}
}

func TestConnectionsToNobodyAreCountedAsFailed(t *testing.T) {
	server, address := pod(t, "a1")
	server.Close()
	tally, err := Visits(t.Context(), here{}, address, 3)
	if err != nil {
		t.Fatal(err)
	}
	if tally.Failed != 3 || tally.FirstError == nil || tally.Answered() != 0 {
		t.Errorf("tally %+v", tally)
	}
}

func TestAFlowSumsUpItsWorkers(t *testing.T) {
	_, one := pod(t, "a1")
	gone, two := pod(t, "a2")
	flow := Start(t.Context(), time.Millisecond, Route{"to one", here{}, one}, Route{"to two", here{}, two})
	for flow.Sum().Pods["a2"] == 0 || flow.Sum().Pods["a1"] == 0 {
		time.Sleep(time.Millisecond)
	}
	gone.Close()
	for flow.Sum().Failed == 0 {
		time.Sleep(time.Millisecond)
	}
	sum, err := flow.Stop()
	if err != nil || sum.FirstError == nil {
		t.Errorf("sum %+v, %v", sum, err)
	}
}

func TestASteadyConnectionNoticesItsEnd(t *testing.T) {
	server, address := pod(t, "a1")
	steady, err := Hold(t.Context(), here{}, address, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer steady.Close()
	for count := 0; count < 3; {
		if count, _, err = steady.Echoes(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	server.Close()
	<-steady.done
	if _, _, err := steady.Echoes(); err == nil {
		t.Error("no error after the pod's end")
	}
}
