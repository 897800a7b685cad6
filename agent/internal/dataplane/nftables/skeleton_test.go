package nftables

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// TestEverySettingOfTheSkeletonIsInItsFingerprint, or an agent would keep a skeleton
// that is not what it was configured with. ServiceCIDRs are elements.
func TestEverySettingOfTheSkeletonIsInItsFingerprint(t *testing.T) {
	seen := map[string]string{fingerprint(dataplane.Settings{}): "the zero settings"}
	for name, settings := range map[string]dataplane.Settings{
		"detector":       {Detect: discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_NODE_CIDR},
		"CIDRs":          {DetectCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		"interface":      {DetectInterface: "cni0"},
		"masquerade all": {MasqueradeAll: true},
		"masquerade bit": {MasqueradeBit: 1},
		"be liberal":     {TCPBeLiberal: true},
	} {
		print := fingerprint(settings)
		if other, twice := seen[print]; twice {
			t.Errorf("%s looks like %s", name, other)
		}
		seen[print] = name
	}
	if fingerprint(dataplane.Settings{ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}}) != fingerprint(dataplane.Settings{}) {
		t.Error("ServiceCIDRs make another skeleton")
	}
}

// TestAClientIsRememberedFromItsLastConnectionOn is S42 and S43: to add what is there
// already would let it expire by its first.
func TestAClientIsRememberedFromItsLastConnectionOn(t *testing.T) {
	for _, f := range families {
		for memory, valid := range map[string]string{affinity: affinityEndpoints, localAffinity: localAffinityEndpoints} {
			rules := f.affinityRules(time.Minute, memory, valid)
			last := rules[len(rules)-1]
			remember, ok := last[len(last)-1].(*expr.Dynset)
			if !ok || remember.SetName != memory || remember.Operation != unix.NFT_DYNSET_OP_UPDATE || remember.Timeout != time.Minute {
				t.Errorf("%s of %s: remembers with %+v", memory, f, remember)
			}
		}
	}
}

// TestAClientOfAnEndpointThatIsNoLongerValidChoosesAnew is S44: what is remembered of
// it goes before its packet does, and nothing remembers it again.
func TestAClientOfAnEndpointThatIsNoLongerValidChoosesAnew(t *testing.T) {
	for _, f := range families {
		first := f.affinityRules(time.Minute, affinity, affinityEndpoints)[0]
		forget, ok := first[len(first)-2].(*expr.Dynset)
		if !ok || forget.SetName != affinity || forget.Operation != dynsetDelete {
			t.Errorf("%s: %+v, want that the client is forgotten", f, first[len(first)-2])
		}
		if last, ok := first[len(first)-1].(*expr.Verdict); !ok || last.Kind != expr.VerdictDrop {
			t.Errorf("%s: ends with %+v, want that the packet is dropped", f, first[len(first)-1])
		}
	}
}
