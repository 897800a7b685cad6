package proxyconfig

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"

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

func TestHowANodeRecognisesItsPods(t *testing.T) {
	for file, want := range map[string]string{
		"clusterCIDR: 10.244.1.7/16": "DETECT_LOCAL_MODE_CLUSTER_CIDR [10.244.0.0/16] ",
		"detectLocalMode: NodeCIDR":  "DETECT_LOCAL_MODE_NODE_CIDR [] ",
		"detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0, interfaceNamePrefix: veth}":     "DETECT_LOCAL_MODE_BRIDGE_INTERFACE [] cni0",
		"detectLocalMode: InterfaceNamePrefix\ndetectLocal: {bridgeInterface: cni0, interfaceNamePrefix: veth}": "DETECT_LOCAL_MODE_INTERFACE_NAME_PREFIX [] veth",
	} {
		config, err := Decode([]byte(head + file))
		s := config.Settings
		if got := fmt.Sprint(s.DetectLocal, s.ClusterCIDRs, " ", s.Interface); err != nil || strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: %s, error %v; want %s", file, got, err, want)
		}
	}
}

func TestConnectionTracking(t *testing.T) {
	for file, want := range map[string]string{
		"{}": "",
		"{maxPerCore: 1, min: 2, tcpBeLiberal: true, tcpEstablishedTimeout: 3s, tcpCloseWaitTimeout: 4s, udpTimeout: 5s, udpStreamTimeout: 6s}": `
			max_per_core: 1 min: 2 tcp_be_liberal: true tcp_established_timeout { seconds: 3 } tcp_close_wait_timeout { seconds: 4 }
			udp_timeout { seconds: 5 } udp_stream_timeout { seconds: 6 }`,
		"{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpTimeout: 0s, udpStreamTimeout: 0s}": "",
	} {
		var expected discoveryv1.Conntrack
		if err := prototext.Unmarshal([]byte(want), &expected); err != nil {
			t.Fatal(err)
		}
		config, err := Decode([]byte(head + "conntrack: " + file))
		if diff := cmp.Diff(&expected, config.Settings.Conntrack, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: error %v (-want +got)\n%s", file, err, diff)
		}
	}
}

// TestWhatIsNotSaidIsAsInKubeProxy is S174; but a file asks for ClusterCIDR.
func TestWhatIsNotSaidIsAsInKubeProxy(t *testing.T) {
	want := compile.DefaultSettings()
	want.DetectLocal = discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR
	want.Conntrack = &discoveryv1.Conntrack{}
	config, err := Decode([]byte(head))
	if diff := cmp.Diff(want, config.Settings, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("error %v (-want +got)\n%s", err, diff)
	}
}

func TestTheShortestPeriodMayBeThePeriod(t *testing.T) {
	config, err := Decode([]byte(head + "nftables: {syncPeriod: 2s, minSyncPeriod: 2s}"))
	if err != nil || config.Settings.SyncPeriod != config.Settings.MinSyncPeriod {
		t.Errorf("%s and %s, error %v", config.Settings.SyncPeriod, config.Settings.MinSyncPeriod, err)
	}
}

// TestIPVSFile is a file as clusters have it.
func TestIPVSFile(t *testing.T) {
	config, err := Decode([]byte(head + `
mode: ipvs
ipvs: {scheduler: rr, syncPeriod: 40s, minSyncPeriod: 2s, tcpTimeout: 0s, tcpFinTimeout: 0s, udpTimeout: 0s, strictARP: true}
iptables: {masqueradeBit: 13, masqueradeAll: true}
nftables: {masqueradeBit: 12, syncPeriod: 50s, minSyncPeriod: 3s}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := config.Settings
	if s.Mode != discoveryv1.ProxyMode_PROXY_MODE_IPVS || s.IPVS.GetScheduler() != "rr" || !s.IPVS.GetStrictArp() || s.MasqueradeBit != 13 || !s.MasqueradeAll || s.SyncPeriod != 40*time.Second || s.MinSyncPeriod != 2*time.Second {
		t.Errorf("got %+v", s)
	}
}

func TestErrorsNameFieldValueAndExpectation(t *testing.T) {
	tests := map[string]struct{ file, want string }{
		"a bind address":                     {"bindAddress: localhost", `bindAddress "localhost": expected an IP address such as 0.0.0.0`},
		"a bind address of a link":           {"bindAddress: 'fe80::1%eth0'", `bindAddress "fe80::1%eth0": expected an IP address`},
		"a negative mark bit":                {"nftables: {masqueradeBit: -1}", "nftables.masqueradeBit -1: expected 0 to 31"},
		"a negative period":                  {"nftables: {syncPeriod: -1s}", "nftables.syncPeriod -1s"},
		"a negative shortest period":         {"nftables: {minSyncPeriod: -1s}", "minSyncPeriod -1s: expected durations of at least 0s"},
		"a negative period of IPVS":          {"mode: ipvs\nipvs: {syncPeriod: -1s}", "ipvs.syncPeriod -1s"},
		"a negative timeout of IPVS":         {"mode: ipvs\nipvs: {udpTimeout: -1s}", "ipvs.udpTimeout -1s: expected at least 0s"},
		"an exclusion of IPVS":               {"mode: ipvs\nipvs: {excludeCIDRs: [10.0.0.1]}", `ipvs.excludeCIDRs[0] "10.0.0.1": expected a CIDR`},
		"a negative conntrack timeout":       {"conntrack: {udpTimeout: -1s}", "conntrack.udpTimeout -1s: expected at least 0s"},
		"an interface name that is too long": {"detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: abcdefghijklmnop}", "expected 1 to 15 characters"},
		"a misspelt field":                   {"ipvs: {strictArp: true}", `unknown field "ipvs.strictArp"`},
		"a duplicate key":                    {"mode: ipvs\nmode: nftables", `key "mode" already set in map`},
		"an unknown mode":                    {"mode: ebpf", `mode "ebpf": expected nftables or ipvs`},
		"primary among others":               {"nodePortAddresses: [primary, 10.0.0.0/8]", `expected "primary" alone`},
		"a node-port address":                {"nodePortAddresses: [10.0.0.1]", `nodePortAddresses[0] "10.0.0.1": expected a CIDR`},
		"two CIDRs of a family":              {"clusterCIDR: 10.0.0.0/16,10.1.0.0/16", "expected at most one CIDR of each family"},
		"a mark bit":                         {"nftables: {masqueradeBit: 32}", "nftables.masqueradeBit 32: expected 0 to 31"},
		"periods in the wrong order":         {"nftables: {syncPeriod: 1s, minSyncPeriod: 2s}", "nftables.minSyncPeriod 2s: expected at most syncPeriod, 1s"},
		"a detector without its name":        {"detectLocalMode: BridgeInterface", `detectLocal.bridgeInterface "": expected 1 to 15 characters`},
		"a detector":                         {"detectLocalMode: Guess", `detectLocalMode "Guess": expected ClusterCIDR`},
		"a negative conntrack limit":         {"conntrack: {min: -1}", "conntrack.min -1: expected at least 0"},
		"an OOM score":                       {"oomScoreAdj: 1001", "oomScoreAdj 1001: expected -1000 to 1000"},
		"a period of another mode":           {"ipvs: {syncPeriod: -1s}", "ipvs.syncPeriod -1s: expected at least 0s"},
		"a health address":                   {"healthzBindAddress: here:10256", `healthzBindAddress "here:10256": expected an address and port such as 0.0.0.0:10256`},
		"a port":                             {"metricsBindAddress: 127.0.0.1:99999", `metricsBindAddress "127.0.0.1:99999": expected an address and port`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Decode([]byte(head + test.file)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	for _, file := range []string{
		"kind: Pod\napiVersion: v1\n", "kind: KubeletConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\n",
		"kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1\n", "mode: nftables\n",
	} {
		if _, err := Decode([]byte(file)); err == nil || !strings.Contains(err.Error(), "expected") {
			t.Errorf("%q: error %v", file, err)
		}
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
