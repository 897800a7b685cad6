package proxyconfig

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
)

const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

func TestDecode(t *testing.T) {
	config, err := Decode([]byte(head + `
mode: nftables
nodePortAddresses: [192.168.1.0/24, "fd00:168:1::/64"]
clusterCIDR: 10.244.0.0/16,fd00:10:244::/48
nftables: {masqueradeAll: true, masqueradeBit: 15, syncPeriod: 1m, minSyncPeriod: 2s}
featureGates: {AllowServiceExternalIPs: false}
conntrack: {maxPerCore: 32768, min: 131072, tcpEstablishedTimeout: 86400s}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := config.Settings
	got := fmt.Sprint(s.NodePortAddresses, s.DetectLocal, s.ClusterCIDRs, s.MasqueradeAll, s.MasqueradeBit, s.SyncPeriod, s.MinSyncPeriod, s.IgnoreExternalIPs,
		s.Conntrack.GetMaxPerCore(), s.Conntrack.GetTcpEstablishedTimeout().AsDuration())
	want := "[192.168.1.0/24 fd00:168:1::/64] DETECT_LOCAL_MODE_CLUSTER_CIDR [10.244.0.0/16 fd00:10:244::/48] true 15 1m0s 2s true 32768 24h0m0s"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(config.Warnings) > 0 {
		t.Errorf("warnings %q", config.Warnings)
	}
}

// TestIPVSFile is a file as clusters have it.
func TestIPVSFile(t *testing.T) {
	config, err := Decode([]byte(head + `
mode: ipvs
ipvs: {scheduler: rr, syncPeriod: 30s, minSyncPeriod: 2s, tcpTimeout: 0s, tcpFinTimeout: 0s, udpTimeout: 0s, strictARP: true}
iptables: {masqueradeBit: 13}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := config.Settings
	if s.Mode != discoveryv1.ProxyMode_PROXY_MODE_IPVS || s.IPVS.GetScheduler() != "rr" || !s.IPVS.GetStrictArp() || s.MasqueradeBit != 13 {
		t.Errorf("got %+v", s)
	}
}

func TestErrorsNameFieldValueAndExpectation(t *testing.T) {
	tests := map[string]struct{ file, want string }{
		"a bind address":              {"bindAddress: localhost", `bindAddress "localhost": expected an IP address such as 0.0.0.0`},
		"a misspelt field":            {"ipvs: {strictArp: true}", `unknown field "ipvs.strictArp"`},
		"a duplicate key":             {"mode: ipvs\nmode: nftables", `key "mode" already set in map`},
		"an unknown mode":             {"mode: ebpf", `mode "ebpf": expected nftables or ipvs`},
		"primary among others":        {"nodePortAddresses: [primary, 10.0.0.0/8]", `expected "primary" alone`},
		"a node-port address":         {"nodePortAddresses: [10.0.0.1]", `nodePortAddresses[0] "10.0.0.1": expected a CIDR`},
		"two CIDRs of a family":       {"clusterCIDR: 10.0.0.0/16,10.1.0.0/16", "expected at most one CIDR of each family"},
		"a mark bit":                  {"nftables: {masqueradeBit: 32}", "nftables.masqueradeBit 32: expected 0 to 31"},
		"periods in the wrong order":  {"nftables: {syncPeriod: 1s, minSyncPeriod: 2s}", "nftables.minSyncPeriod 2s: expected at most syncPeriod, 1s"},
		"a detector without its name": {"detectLocalMode: BridgeInterface", `detectLocal.bridgeInterface "": expected 1 to 15 characters`},
		"a detector":                  {"detectLocalMode: Guess", `detectLocalMode "Guess": expected ClusterCIDR`},
		"a negative conntrack limit":  {"conntrack: {min: -1}", "conntrack.min -1: expected at least 0"},
		"an OOM score":                {"oomScoreAdj: 1001", "oomScoreAdj 1001: expected -1000 to 1000"},
		"a negative period":           {"configSyncPeriod: -1s", "configSyncPeriod -1s: expected at least 0s"},
		"a period of another mode":    {"ipvs: {syncPeriod: -1s}", "ipvs.syncPeriod -1s: expected at least 0s"},
		"a health address":            {"healthzBindAddress: here:10256", `healthzBindAddress "here:10256": expected an address and port such as 0.0.0.0:10256`},
		"a port":                      {"metricsBindAddress: 127.0.0.1:99999", `metricsBindAddress "127.0.0.1:99999": expected an address and port`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Decode([]byte(head + test.file)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if _, err := Decode([]byte("kind: Pod\napiVersion: v1\n")); err == nil || !strings.Contains(err.Error(), "expected") {
		t.Errorf("another kind: error %v", err)
	}
}

func TestWhatHasNoEffectIsSaid(t *testing.T) {
	for file, want := range map[string]string{
		"mode: iptables\nclusterCIDR: 10.0.0.0/16":            "no iptables data plane",
		"featureGates: {Foo: true}\nclusterCIDR: 10.0.0.0/16": "featureGates.Foo has no effect",
		"mode: nftables": "clusterCIDR is empty",
		"nodePortAddresses: [127.0.0.0/8]\nclusterCIDR: 10.0.0.0/16": "never served on loopback",
	} {
		config, err := Decode([]byte(head + file))
		if err != nil || len(config.Warnings) != 1 || !strings.Contains(config.Warnings[0], want) {
			t.Errorf("%s: warnings %q, error %v, want %q", file, config.Warnings, err, want)
		}
	}
}

// TestEveryFieldHasAnEffectOrAWarning sets each field of the type by itself, so that one
// that is new to it is not passed over in silence.
func TestEveryFieldHasAnEffectOrAWarning(t *testing.T) {
	effective := []string{
		"TypeMeta", "BindAddress", "Mode", "NFTables", "IPVS", "DetectLocalMode", "DetectLocal", "ClusterCIDR", "NodePortAddresses",
		"Conntrack", "FeatureGates", "IPTables", // Of which some fields have: see below.
	}
	fields := map[string]string{
		"ClientConnection": "clientConnection: {qps: 5}", "Logging": "logging: {format: json}", "HostnameOverride": "hostnameOverride: a",
		"HealthzBindAddress": "healthzBindAddress: 0.0.0.0:10256", "MetricsBindAddress": "metricsBindAddress: 127.0.0.1",
		"BindAddressHardFail": "bindAddressHardFail: true", "EnableProfiling": "enableProfiling: true",
		"ShowHiddenMetricsForVersion": "showHiddenMetricsForVersion: '1.35'", "Winkernel": "winkernel: {networkName: a}",
		"OOMScoreAdj": "oomScoreAdj: -999", "ConfigSyncPeriod": "configSyncPeriod: 15m", "PortRange": "portRange: 1-2",
		"WindowsRunAsService": "windowsRunAsService: true",
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[kubeproxyv1alpha1.KubeProxyConfiguration]()) {
		if len(f.Index) > 1 || slices.Contains(effective, f.Name) {
			continue
		}
		expectWarning(t, fields[f.Name], strings.SplitN(f.Tag.Get("json"), ",", 2)[0]+" has no effect here")
	}
	for _, field := range []string{"masqueradeAll: true", "masqueradeBit: 3", "localhostNodePorts: true", "syncPeriod: 30s", "minSyncPeriod: 1s"} {
		name, _, _ := strings.Cut(field, ":")
		expectWarning(t, "iptables: {"+field+"}", "iptables."+name+" has no effect here")
	}
}

func expectWarning(t *testing.T, file, want string) {
	t.Helper()
	config, err := Decode([]byte(head + file + "\nclusterCIDR: 10.0.0.0/16\n"))
	if err != nil || len(config.Warnings) != 1 || !strings.HasPrefix(config.Warnings[0], want) {
		t.Errorf("%s: warnings %q, error %v, want %q", file, config.Warnings, err, want)
	}
}

func TestTheBindAddressChoosesThePrimaryFamily(t *testing.T) {
	for text, want := range map[string]compile.PrimaryFamily{
		"": compile.PrimaryOfNode, "0.0.0.0": compile.PrimaryOfNode, "'::'": compile.PrimaryOfNode,
		"192.168.0.2": compile.PrimaryIPv4, "fd00::2": compile.PrimaryIPv6, "'::ffff:192.168.0.2'": compile.PrimaryIPv4,
	} {
		config, err := Decode([]byte(head + "bindAddress: " + text + "\n"))
		if err != nil || config.Settings.Primary != want {
			t.Errorf("bindAddress %s: %v, error %v; want %v", text, config.Settings.Primary, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(head + "mode: ipvs"))
	f.Fuzz(func(_ *testing.T, content []byte) { _, _ = Decode(content) })
}
