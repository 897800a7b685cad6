package configuration

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/portolan-net/portolan/controlplane/internal/proxyconfig"
)

func seconds(n int64) *durationpb.Duration { return &durationpb.Duration{Seconds: n} }

// some is a draw of what a file may have.
type some struct{ *rapid.T }

func (s some) yes(label string) bool { return rapid.Bool().Draw(s.T, label) }
func (s some) text(label string, from ...string) string {
	return rapid.SampledFrom(append(from, "")).Draw(s.T, label)
}
func (s some) duration(label string) metav1.Duration {
	return metav1.Duration{Duration: time.Duration(rapid.IntRange(0, 90_000).Draw(s.T, label)) * time.Second}
}
func (s some) number(label string, most int32) *int32 {
	if !s.yes(label) {
		return nil
	}
	return new(rapid.Int32Range(0, most).Draw(s.T, label))
}
func (s some) list(label string, from ...string) []string {
	var list []string
	for _, text := range from {
		if s.yes(label) {
			list = append(list, text)
		}
	}
	return list
}

// file returns a file that is right, with any of its fields.
func (s some) file() *kubeproxyv1alpha1.KubeProxyConfiguration {
	f := &kubeproxyv1alpha1.KubeProxyConfiguration{
		TypeMeta:          metav1.TypeMeta{APIVersion: kubeproxyv1alpha1.SchemeGroupVersion.String(), Kind: proxyconfig.Kind},
		Mode:              kubeproxyv1alpha1.ProxyMode(s.text("mode", "nftables", "ipvs", "iptables")),
		BindAddress:       s.text("bind", "0.0.0.0", "192.0.2.1", "fd00::1"),
		ClusterCIDR:       s.text("CIDR", "10.244.0.0/16", "10.244.0.0/16,fd00::/48"),
		DetectLocalMode:   kubeproxyv1alpha1.LocalMode(s.text("detect", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")),
		DetectLocal:       kubeproxyv1alpha1.DetectLocalConfiguration{BridgeInterface: "cni0", InterfaceNamePrefix: "veth"},
		NodePortAddresses: s.list("address", "10.0.0.0/8", "127.0.0.0/8", "fd00::/64"),
		HostnameOverride:  s.text("hostname", "a"),
		OOMScoreAdj:       s.number("oom", 1000),
	}
	f.NFTables = kubeproxyv1alpha1.KubeProxyNFTablesConfiguration{MasqueradeBit: s.number("bit", 31), MasqueradeAll: s.yes("all"), MinSyncPeriod: s.duration("min")}
	f.NFTables.SyncPeriod.Duration = f.NFTables.MinSyncPeriod.Duration + 30*time.Second
	f.IPTables = kubeproxyv1alpha1.KubeProxyIPTablesConfiguration{MasqueradeBit: s.number("bit", 31), MasqueradeAll: s.yes("all"), SyncPeriod: s.duration("sync")}
	if s.yes("localhost") {
		f.IPTables.LocalhostNodePorts = new(s.yes("localhost"))
	}
	f.IPVS = kubeproxyv1alpha1.KubeProxyIPVSConfiguration{
		Scheduler: s.text("scheduler", "rr", "mh", "wlc"), StrictARP: s.yes("ARP"), ExcludeCIDRs: s.list("exclude", "10.0.0.0/8", "fd00::/8"),
		TCPTimeout: s.duration("tcp"), TCPFinTimeout: s.duration("fin"), UDPTimeout: s.duration("udp"),
	}
	if s.yes("period") {
		f.IPVS.MinSyncPeriod = s.duration("min")
		f.IPVS.SyncPeriod.Duration = f.IPVS.MinSyncPeriod.Duration + time.Second
	}
	f.Conntrack = kubeproxyv1alpha1.KubeProxyConntrackConfiguration{
		MaxPerCore: s.number("core", 1<<20), Min: s.number("min", 1<<20), TCPBeLiberal: s.yes("liberal"),
		UDPTimeout: s.duration("udp"), UDPStreamTimeout: s.duration("stream"),
	}
	if s.yes("timeouts") {
		f.Conntrack.TCPEstablishedTimeout, f.Conntrack.TCPCloseWaitTimeout = new(s.duration("established")), new(s.duration("close wait"))
	}
	if s.yes("gate") {
		f.FeatureGates = map[string]bool{"AllowServiceExternalIPs": s.yes("external"), "Other": true}
	}
	return f
}

// TestAnImportedFileMeansWhatItWasImportedFrom: written and read again, it gives the
// same settings.
func TestAnImportedFileMeansWhatItWasImportedFrom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asJSON, err := json.Marshal(some{t}.file())
		if err != nil {
			t.Fatal(err)
		}
		content, err := yaml.JSONToYAML(asJSON)
		if err != nil {
			t.Fatal(err)
		}
		direct, err := decode(string(content))
		if err != nil {
			t.Fatalf("%v\n%s", err, content)
		}
		imported, err := Import(content)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(string(imported.File))
		if diff := cmp.Diff(direct.Settings, again.Settings, protocmp.Transform(), cmp.Comparer(equalPrefixes)); diff != "" || err != nil {
			t.Fatalf("error %v (-file +imported)\n%s\n%s", err, diff, imported.File)
		}
	})
}

func equalPrefixes(a, b netip.Prefix) bool { return a == b }
