package compile

import (
	"fmt"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/api/resource"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Scheduler says what chooses among a Service's endpoints on a node of the settings. What the
// node's kernel does not have, the node itself warns of.
func (s *Settings) Scheduler(service *model.Service) string {
	name := service.Scheduler
	switch isIPVS := s.Mode == discoveryv1.ProxyMode_PROXY_MODE_IPVS; {
	case isIPVS && name != "":
		return fmt.Sprintf("IPVS chooses among endpoints by scheduler %s, as the Service asks", name)
	case isIPVS:
		if name = s.IPVS.GetScheduler(); name == "" {
			name = resource.Schedulers[0]
		}
		return fmt.Sprintf("IPVS chooses among endpoints by scheduler %s, the node's default", name)
	case name == "":
		return "nftables chooses among endpoints at random" + byWeight(service)
	case resource.NeedsConnections(name):
		return fmt.Sprintf("nftables approximates scheduler %s, as the Service asks: it does not know how many connections an endpoint has", name)
	default:
		return fmt.Sprintf("nftables chooses among endpoints by scheduler %s, as the Service asks", name)
	}
}

func byWeight(service *model.Service) string {
	if service.Weights == nil {
		return ""
	}
	return ", by weight"
}
