package compile

import (
	"strings"
	"testing"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

func TestTheSchedulerInForceIsTold(t *testing.T) {
	nftables := Settings{Mode: discoveryv1.ProxyMode_PROXY_MODE_NFTABLES}
	plain := Settings{Mode: discoveryv1.ProxyMode_PROXY_MODE_IPVS}
	configured := Settings{Mode: discoveryv1.ProxyMode_PROXY_MODE_IPVS, IPVS: &discoveryv1.Ipvs{Scheduler: "sed"}}
	for _, test := range []struct {
		settings Settings
		service  model.Service
		want     string
	}{
		{nftables, model.Service{}, "at random"},
		{nftables, model.Service{Weights: &model.Weights{}}, "at random, by weight"},
		{nftables, model.Service{Scheduler: "rr"}, "by scheduler rr, as the Service asks"},
		{nftables, model.Service{Scheduler: "wlc"}, "approximates scheduler wlc"},
		{plain, model.Service{}, "IPVS chooses among endpoints by scheduler rr, the node's default"},
		{configured, model.Service{}, "scheduler sed, the node's default"},
		{configured, model.Service{Scheduler: "mh"}, "scheduler mh, as the Service asks"},
	} {
		if got := test.settings.Scheduler(&test.service); !strings.Contains(got, test.want) {
			t.Errorf("%+v: %q, want %q", test.service, got, test.want)
		}
	}
}
