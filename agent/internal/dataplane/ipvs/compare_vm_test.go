//go:build vm

package ipvs

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/dataplane/nftables"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/agent/internal/sysctl"
)

// TestWhatOthersHaveChangedIsListed, by ipvsadm, ip and nft, in the kernel itself. To compare
// changes nothing, and what differs is put right by the next replacement.
func TestWhatOthersHaveChangedIsListed(t *testing.T) {
	open(t) // What is left is removed.
	logger := hclog.NewNullLogger()
	beside, err := nftables.Open(logger, dataplane.IPv4)
	must(t, err)
	r := newRig(t)
	r.Plane, err = New(logger, beside[0], sysctl.Tree{Root: "/"})
	must(t, err)
	t.Cleanup(func() {
		must(t, r.Cleanup(t.Context()))
		must(t, r.Close())
	})
	const bit = 14
	r.settings.MasqueradeBit = bit
	r.update(service(1, nil, "10.244.0.1*2", "10.244.0.2"),
		service(2, func(s *state.Service) { s.Scheduler = "wlc" }, "10.244.0.3"))
	run := func(line string) {
		t.Helper()
		words := strings.Fields(line)
		if out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	for _, test := range []struct{ disturb, want string }{
		{"ipvsadm -D -t 10.96.0.2:80", "ipvs|TCP 10.96.0.2:80|scheduler wlc|;ipvs|TCP 10.96.0.2:80 > 10.244.0.3:8080|weight 1|"},
		{"ipvsadm -A -t 10.96.0.9:80 -s rr", "ipvs|TCP 10.96.0.9:80||a virtual server"},
		{"ipvsadm -E -t 10.96.0.2:80 -s lc", "ipvs|TCP 10.96.0.2:80|scheduler wlc|another scheduler or persistence"},
		{"ipvsadm -E -t 10.96.0.2:80 -s wlc -p 60", "ipvs|TCP 10.96.0.2:80|scheduler wlc|another scheduler or persistence"},
		{"ipvsadm -e -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 7", "ipvs|TCP 10.96.0.1:80 > 10.244.0.1:8080|weight 2|another weight"},
		{"ipvsadm -d -t 10.96.0.1:80 -r 10.244.0.2:8080", "ipvs|TCP 10.96.0.1:80 > 10.244.0.2:8080|weight 1|"},
		{"ipvsadm -a -t 10.96.0.1:80 -r 10.244.0.7:8080 -m", "ipvs|TCP 10.96.0.1:80 > 10.244.0.7:8080||a destination"},
		{"ip address delete 10.96.0.1/32 dev " + dataplane.ServiceInterface, "interface portolan-ipvs|10.96.0.1|an address|"},
		{"nft delete element ip portolan served-ips { 10.96.0.1 . tcp . 80 }", "set served-ips|TCP 10.96.0.1:80|an element|"},
	} {
		r.replace()
		if found := r.differences(); len(found) > 0 {
			t.Fatalf("before %s: %+v", test.disturb, found)
		}
		run(test.disturb)
		for range 2 {
			if got := texts(r.differences()); got != test.want {
				t.Errorf("%s\ngot  %s\nwant %s", test.disturb, got, test.want)
			}
		}
	}
	r.replace()
	if found := r.differences(); len(found) > 0 {
		t.Errorf("in the end: %+v", found)
	}
}
