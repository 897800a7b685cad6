package compile

import (
	"net/netip"
	"testing"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func TestEndpointsAreCountedOnceForEachPortThatTheyServe(t *testing.T) {
	service := &model.Service{ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")},
		Ports: []model.Port{{Name: "http", Protocol: model.TCP}, {Name: "https", Protocol: model.TCP}, {Name: "dns", Protocol: model.UDP}}}
	slice := func(is6 bool, endpoints int, ports ...model.SlicePort) *model.Slice {
		return &model.Slice{Is6: is6, Ports: ports, Endpoints: make([]model.Endpoint, endpoints)}
	}
	http, https := model.SlicePort{Name: "http", Protocol: model.TCP}, model.SlicePort{Name: "https", Protocol: model.TCP}
	for name, c := range map[string]struct {
		slices []*model.Slice
		want   int
	}{
		"none":                   {nil, 0},
		"one port of a slice":    {[]*model.Slice{slice(false, 3, http)}, 3},
		"two ports of a slice":   {[]*model.Slice{slice(false, 3, http, https)}, 6},
		"two slices":             {[]*model.Slice{slice(false, 3, http), slice(false, 4, http)}, 7},
		"a port of nobody":       {[]*model.Slice{slice(false, 3, http, model.SlicePort{Name: "x", Protocol: model.TCP})}, 3},
		"another protocol":       {[]*model.Slice{slice(false, 3, model.SlicePort{Name: "dns", Protocol: model.TCP})}, 0},
		"a family it has not":    {[]*model.Slice{slice(true, 3, http)}, 0},
		"two numbers of a port":  {[]*model.Slice{slice(false, 3, http, http)}, 6},
		"a slice with no ports":  {[]*model.Slice{slice(false, 3)}, 0},
		"a slice of no endpoint": {[]*model.Slice{slice(false, 0, http)}, 0},
	} {
		if got := Endpoints(service, c.slices); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	if got := Endpoints(nil, []*model.Slice{slice(false, 3, http)}); got != 0 {
		t.Errorf("of no Service: got %d", got)
	}
}
