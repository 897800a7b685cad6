package compile

import (
	"net/netip"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Uses tells whether new connections to a Service may go to an endpoint of an address, from
// anywhere. isFallback is set if they do only because the Service has no ready endpoint.
func Uses(service *model.Service, slicesOf []*model.Slice, address netip.Addr) (uses, isFallback bool) {
	if service == nil {
		return false, false
	}
	for _, s := range selections(service, slicesOf) {
		for i := range s.candidates {
			c := &s.candidates[i]
			if c.endpoint.Addr != address || c.drained || !s.decision.Anybody(i) {
				continue
			}
			uses = true
			isFallback = isFallback || !c.endpoint.Ready
		}
	}
	return uses, isFallback
}
