package kubeproxy

import (
	"testing"
	"time"

	kubeproxyconfig "k8s.io/kubernetes/pkg/proxy/apis/config"
	"k8s.io/kubernetes/pkg/proxy/apis/config/scheme"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	"github.com/portolan-net/portolan/controlplane/internal/proxyconfig"
)

// TestWhatAFileDoesNotSayIsAsInKubeProxy: its own defaults, field by field, of those that
// have an effect here.
func TestWhatAFileDoesNotSayIsAsInKubeProxy(t *testing.T) {
	const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	for _, mode := range []string{"nftables", "ipvs"} {
		text := []byte(head + "mode: " + mode + "\n")
		decoded, _, err := scheme.Codecs.UniversalDecoder().Decode(text, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		theirs := decoded.(*kubeproxyconfig.KubeProxyConfiguration)
		imported, err := proxyconfig.FromFile(text)
		if err != nil {
			t.Fatal(err)
		}
		ours, own := imported.Configuration, v1alpha1.Defaults()
		duration := func(set *v1alpha1.Duration, otherwise *v1alpha1.Duration) time.Duration {
			switch {
			case set != nil:
				return time.Duration(*set)
			case otherwise != nil:
				return time.Duration(*otherwise)
			default:
				return 0
			}
		}
		number := func(set *int32) int32 {
			if set == nil {
				return -1
			}
			return *set
		}
		masqueradeBit := own.Masquerade.Bit
		if ours.Masquerade.Bit != nil {
			masqueradeBit = ours.Masquerade.Bit
		}
		theirBit := theirs.NFTables.MasqueradeBit
		if mode == "ipvs" {
			theirBit = theirs.IPTables.MasqueradeBit
		}
		for field, values := range map[string][2]any{
			"conntrack.maxPerCore":            {number(ours.Conntrack.MaxPerCore), *theirs.Linux.Conntrack.MaxPerCore},
			"conntrack.min":                   {number(ours.Conntrack.Min), *theirs.Linux.Conntrack.Min},
			"conntrack.tcpEstablishedTimeout": {duration(ours.Conntrack.TCPEstablishedTimeout, nil), theirs.Linux.Conntrack.TCPEstablishedTimeout.Duration},
			"conntrack.tcpCloseWaitTimeout":   {duration(ours.Conntrack.TCPCloseWaitTimeout, nil), theirs.Linux.Conntrack.TCPCloseWaitTimeout.Duration},
			"conntrack.udpTimeout":            {duration(ours.Conntrack.UDPTimeout, nil), theirs.Linux.Conntrack.UDPTimeout.Duration},
			"conntrack.udpStreamTimeout":      {duration(ours.Conntrack.UDPStreamTimeout, nil), theirs.Linux.Conntrack.UDPStreamTimeout.Duration},
			"conntrack.tcpBeLiberal":          {ours.Conntrack.TCPBeLiberal != nil, theirs.Linux.Conntrack.TCPBeLiberal},
			"syncPeriod":                      {duration(ours.Sync.Period, own.Sync.Period), theirs.SyncPeriod.Duration},
			"masqueradeBit":                   {*masqueradeBit, *theirBit},
			"masqueradeAll":                   {ours.Masquerade.All != nil, theirs.Linux.MasqueradeAll},
			"ipvs.strictARP":                  {ours.IPVS.StrictARP != nil, theirs.IPVS.StrictARP},
			"ipvs.tcpTimeout":                 {duration(ours.IPVS.TCPTimeout, nil), theirs.IPVS.TCPTimeout.Duration},
			"ipvs.scheduler":                  {ours.IPVS.Scheduler, theirs.IPVS.Scheduler},
		} {
			if values[0] != values[1] {
				t.Errorf("mode %s: %s is %v, in kube-proxy %v", mode, field, values[0], values[1])
			}
		}
	}
}
