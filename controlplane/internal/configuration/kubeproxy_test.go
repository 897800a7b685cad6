package configuration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

const kubeHead = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

func decode(file string) (Config, error) { return Decode([]byte(file), Overrides{}) }

// nodeConfig returns what a Node is told with the settings.
func nodeConfig(t *testing.T, settings compile.Settings, node *model.Node) *discoveryv1.NodeConfig {
	t.Helper()
	return compile.Node(node, settings)[0].Resource.GetNodeConfig()
}

// TestAFileInModeIPVSReachesNodesWhole is a file as clusters have it.
func TestAFileInModeIPVSReachesNodesWhole(t *testing.T) {
	content, err := os.ReadFile("testdata/kube-proxy-ipvs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config, err := decode(string(content))
	if err != nil {
		t.Fatal(err)
	}
	want := &discoveryv1.NodeConfig{}
	if err := prototext.Unmarshal([]byte(`
		mode: PROXY_MODE_IPVS
		node_port_addresses: "0.0.0.0/0" node_port_addresses: "::/0"
		detect_local {}
		masquerade_bit: 14
		sync_period { seconds: 30 }
		min_sync_period { seconds: 2 }
		ipvs { scheduler: "rr" strict_arp: true tcp_timeout {} tcp_fin_timeout {} udp_timeout {} }
		conntrack {
			max_per_core: 32768 min: 131072
			tcp_established_timeout { seconds: 86400 } tcp_close_wait_timeout { seconds: 3600 }
		}`), want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, nodeConfig(t, config.Settings, &model.Node{Name: "a"}), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestEachValueReachesNodes: none is what it is by default, so none is there by chance.
func TestEachValueReachesNodes(t *testing.T) {
	config, err := decode(kubeHead + `
mode: ipvs
clusterCIDR: 10.244.0.0/16
nodePortAddresses: [192.0.2.0/24]
ipvs:
  scheduler: wlc
  syncPeriod: 41s
  minSyncPeriod: 3s
  tcpTimeout: 901s
  tcpFinTimeout: 121s
  udpTimeout: 301s
  strictARP: true
  excludeCIDRs: [198.51.100.0/24]
iptables: {masqueradeAll: true, masqueradeBit: 15}
conntrack:
  maxPerCore: 32769
  min: 131073
  tcpEstablishedTimeout: 86401s
  tcpCloseWaitTimeout: 3601s
  udpTimeout: 31s
  udpStreamTimeout: 181s
  tcpBeLiberal: true
`)
	if err != nil {
		t.Fatal(err)
	}
	want := &discoveryv1.NodeConfig{}
	if err := prototext.Unmarshal([]byte(`
		mode: PROXY_MODE_IPVS
		node_port_addresses: "192.0.2.0/24"
		detect_local { mode: DETECT_LOCAL_MODE_CLUSTER_CIDR cidrs: "10.244.0.0/16" }
		masquerade_bit: 15 masquerade_all: true
		sync_period { seconds: 41 } min_sync_period { seconds: 3 }
		ipvs {
			scheduler: "wlc" strict_arp: true exclude_cidrs: "198.51.100.0/24"
			tcp_timeout { seconds: 901 } tcp_fin_timeout { seconds: 121 } udp_timeout { seconds: 301 }
		}
		conntrack {
			max_per_core: 32769 min: 131073 tcp_be_liberal: true
			tcp_established_timeout { seconds: 86401 } tcp_close_wait_timeout { seconds: 3601 }
			udp_timeout { seconds: 31 } udp_stream_timeout { seconds: 181 }
		}`), want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, nodeConfig(t, config.Settings, &model.Node{Name: "a"}), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAFileOfKubeadmWorks(t *testing.T) {
	content, err := os.ReadFile("testdata/kubeadm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config, err := decode(string(content))
	if err != nil || len(config.Settings.ClusterCIDRs) != 2 || len(config.Warnings) != 2 {
		t.Errorf("settings %+v, warnings %q, error %v", config.Settings, config.Warnings, err)
	}
}

func TestAFileIsTakenAtItsWord(t *testing.T) {
	config, err := decode(kubeHead + `
mode: nftables
nodePortAddresses: [192.168.1.0/24, "fd00:168:1::/64"]
clusterCIDR: 10.244.0.0/16,fd00:10:244::/48
nftables: {masqueradeAll: true, masqueradeBit: 15, syncPeriod: 1m, minSyncPeriod: 2s}
conntrack: {maxPerCore: 32768, tcpEstablishedTimeout: 24h}
featureGates: {AllowServiceExternalIPs: false}
`)
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
		config, err := decode(kubeHead + file)
		s := config.Settings
		if got := fmt.Sprint(s.DetectLocal, s.ClusterCIDRs, " ", s.Interface); err != nil || strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: %s, error %v; want %s", file, got, err, want)
		}
	}
}

func TestConnectionTracking(t *testing.T) {
	for file, want := range map[string]string{
		"{maxPerCore: 1, min: 2, tcpBeLiberal: true, tcpEstablishedTimeout: 3s, tcpCloseWaitTimeout: 4s, udpTimeout: 5s, udpStreamTimeout: 6s}": `
			max_per_core: 1 min: 2 tcp_be_liberal: true tcp_established_timeout { seconds: 3 } tcp_close_wait_timeout { seconds: 4 }
			udp_timeout { seconds: 5 } udp_stream_timeout { seconds: 6 }`,
		"{min: 2}": "max_per_core: 32768 min: 2 tcp_established_timeout { seconds: 86400 } tcp_close_wait_timeout { seconds: 3600 }",
		"{}":       "max_per_core: 32768 min: 131072 tcp_established_timeout { seconds: 86400 } tcp_close_wait_timeout { seconds: 3600 }",
		"{maxPerCore: 0, tcpEstablishedTimeout: 0s}": "min: 131072 tcp_close_wait_timeout { seconds: 3600 }",
	} {
		var expected discoveryv1.Conntrack
		if err := prototext.Unmarshal([]byte(want), &expected); err != nil {
			t.Fatal(err)
		}
		config, err := decode(kubeHead + "conntrack: " + file)
		if diff := cmp.Diff(&expected, config.Settings.Conntrack, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: error %v (-want +got)\n%s", file, err, diff)
		}
	}
	for _, nothing := range []string{"{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpTimeout: 0s, udpStreamTimeout: 0s}"} {
		config, err := decode(kubeHead + "conntrack: " + nothing)
		if err != nil || config.Settings.Conntrack != nil {
			t.Errorf("%s: %v, error %v", nothing, config.Settings.Conntrack, err)
		}
	}
}

// TestWhatIsNotSaidIsAsInKubeProxy is S174; a file asks for ClusterCIDR, for connection tracking and, its default being
// mode iptables, for node ports on all addresses.
func TestWhatIsNotSaidIsAsInKubeProxy(t *testing.T) {
	want := compile.DefaultSettings()
	want.NodePortAddresses = []string{"0.0.0.0/0", "::/0"}
	want.DetectLocal = discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_CLUSTER_CIDR
	want.Conntrack = &discoveryv1.Conntrack{MaxPerCore: 32768, Min: 131072,
		TcpEstablishedTimeout: durationpb.New(24 * time.Hour), TcpCloseWaitTimeout: durationpb.New(time.Hour)}
	config, err := decode(kubeHead)
	if diff := cmp.Diff(want, config.Settings, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("error %v (-want +got)\n%s", err, diff)
	}
}

func TestTheShortestPeriodMayBeThePeriod(t *testing.T) {
	config, err := decode(kubeHead + "nftables: {syncPeriod: 2s, minSyncPeriod: 2s}")
	if err != nil || config.Settings.SyncPeriod != config.Settings.MinSyncPeriod {
		t.Errorf("%s and %s, error %v", config.Settings.SyncPeriod, config.Settings.MinSyncPeriod, err)
	}
}

// TestModeIPVSHasFieldsOfItsOwn is S175: it masquerades as iptables would.
func TestModeIPVSHasFieldsOfItsOwn(t *testing.T) {
	config, err := decode(kubeHead + `
mode: ipvs
ipvs: {scheduler: wlc, syncPeriod: 40s, minSyncPeriod: 2s, tcpTimeout: 1s, strictARP: true, excludeCIDRs: [10.0.0.0/8]}
iptables: {masqueradeBit: 13, masqueradeAll: true}
nftables: {masqueradeBit: 12, syncPeriod: 50s, minSyncPeriod: 3s}
`)
	if err != nil {
		t.Fatal(err)
	}
	s := config.Settings
	if s.Mode != discoveryv1.ProxyMode_PROXY_MODE_IPVS || s.IPVS.GetScheduler() != "wlc" || !s.IPVS.GetStrictArp() || s.MasqueradeBit != 13 || !s.MasqueradeAll ||
		s.SyncPeriod != 40*time.Second || s.MinSyncPeriod != 2*time.Second || s.IPVS.GetTcpTimeout().AsDuration() != time.Second || len(s.IPVS.GetExcludeCidrs()) != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestKubeProxyErrorsNameLineFieldValueAndExpectation(t *testing.T) {
	tests := map[string]struct{ file, want string }{
		"a bind address":                     {"bindAddress: localhost", `line 3: bindAddress "localhost": expected an IP address such as 0.0.0.0`},
		"a bind address of a link":           {"bindAddress: 'fe80::1%eth0'", `bindAddress "fe80::1%eth0": expected an IP address`},
		"a negative mark bit":                {"nftables: {masqueradeBit: -1}", `line 3: nftables.masqueradeBit "-1": expected 0 to 31`},
		"a mark bit in mode ipvs":            {"mode: ipvs\niptables: {masqueradeBit: 32}", `line 4: iptables.masqueradeBit "32": expected 0 to 31`},
		"a negative period":                  {"nftables: {syncPeriod: -1s}", `nftables.syncPeriod "-1s": expected at least 0s`},
		"a negative shortest period":         {"nftables: {minSyncPeriod: -1s}", `nftables.minSyncPeriod "-1s": expected at least 0s`},
		"a negative period of IPVS":          {"mode: ipvs\nipvs: {syncPeriod: -1s}", `ipvs.syncPeriod "-1s"`},
		"a negative timeout of IPVS":         {"mode: ipvs\nipvs: {udpTimeout: -1s}", `ipvs.udpTimeout "-1s": expected at least 0s`},
		"a timeout that is no whole second":  {"mode: ipvs\nipvs:\n  tcpFinTimeout: 500ms", `line 5: ipvs.tcpFinTimeout "500ms": expected 0s, which leaves it as it is, or at least 1s: the kernel takes whole seconds`},
		"a conntrack timeout that is none":   {"conntrack: {tcpEstablishedTimeout: 1ms}", `conntrack.tcpEstablishedTimeout "1ms": expected 0s`},
		"a timeout no kernel takes":          {"conntrack: {udpTimeout: 6000h}", `line 3: conntrack.udpTimeout "6000h0m0s": expected at most 5965h13m56s: no kernel takes more`},
		"a second document":                  {"mode: ipvs\n---\nmode: nftables", `line 5: expected one document, but here is document 2`},
		"a scheduler":                        {"mode: ipvs\nipvs: {scheduler: wlrc}", `line 4: ipvs.scheduler "wlrc": expected one of rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh; did you mean "wlc"`},
		"a scheduler in another mode":        {"ipvs: {scheduler: round-robin}", `ipvs.scheduler "round-robin": expected one of rr wrr`},
		"an exclusion of IPVS":               {"mode: ipvs\nipvs: {excludeCIDRs: [10.0.0.1]}", `ipvs.excludeCIDRs[0] "10.0.0.1": expected a CIDR`},
		"a negative conntrack timeout":       {"conntrack: {udpTimeout: -1s}", `conntrack.udpTimeout "-1s": expected at least 0s`},
		"an interface name that is too long": {"detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: abcdefghijklmnop}", `line 4: detectLocal.bridgeInterface "abcdefghijklmnop": expected 1 to 15 characters`},
		"a misspelt field":                   {"mode: ipvs\nipvs:\n  strictArp: true", `line 5: ipvs.strictArp: unknown field; did you mean "strictARP"?`},
		"a misspelt field in upper case":     {"Mode: ipvs", `line 3: Mode: unknown field; did you mean "mode"?`},
		"a duplicate key":                    {"mode: ipvs\nmode: nftables", `line 4: key "mode" already set in map: expected each key once`},
		"a duration":                         {"ipvs: {tcpTimeout: 30}", `line 3: ipvs.tcpTimeout "30": expected a duration such as 30s`},
		"an unknown mode":                    {"mode: ebpf", `line 3: mode "ebpf": expected nftables or ipvs`},
		"primary among others":               {"nodePortAddresses: [primary, 10.0.0.0/8]", `nodePortAddresses "primary,10.0.0.0/8": expected "primary" alone`},
		"a node-port address":                {"nodePortAddresses:\n- 10.0.0.0/8\n- 10.0.0.1", `line 5: nodePortAddresses[1] "10.0.0.1": expected a CIDR`},
		"two CIDRs of a family":              {"clusterCIDR: 10.0.0.0/16,10.1.0.0/16", `clusterCIDR "10.0.0.0/16,10.1.0.0/16": expected at most one CIDR of each family`},
		"a cluster CIDR":                     {"clusterCIDR: 10.0.0.0", `line 3: clusterCIDR "10.0.0.0": expected a CIDR`},
		"a mark bit":                         {"nftables: {masqueradeBit: 32}", `nftables.masqueradeBit "32": expected 0 to 31`},
		"periods in the wrong order":         {"nftables: {syncPeriod: 1s, minSyncPeriod: 2s}", `nftables.minSyncPeriod "2s": expected at most the period, 1s`},
		"a detector without its name":        {"detectLocalMode: BridgeInterface", `detectLocal.bridgeInterface: expected 1 to 15 characters`},
		"a detector":                         {"detectLocalMode: Guess", `line 3: detectLocalMode "Guess": expected ClusterCIDR`},
		"a negative conntrack limit":         {"conntrack: {min: -1}", `conntrack.min "-1": expected at least 0`},
		"an OOM score":                       {"oomScoreAdj: 1001", `line 3: oomScoreAdj "1001": expected -1000 to 1000`},
		"a period of another mode":           {"ipvs: {syncPeriod: -1s}", `ipvs.syncPeriod "-1s": expected at least 0s`},
		"a health address":                   {"healthzBindAddress: here:10256", `healthzBindAddress "here:10256": expected an address and port such as 0.0.0.0:10256`},
		"a port":                             {"metricsBindAddress: 127.0.0.1:99999", `metricsBindAddress "127.0.0.1:99999": expected an address and port`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := decode(kubeHead + test.file); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v\nwant  %s", err, test.want)
			}
		})
	}
}

func TestWhatHasNoEffectIsSaid(t *testing.T) {
	for file, want := range map[string]string{
		"mode: iptables\nclusterCIDR: 10.0.0.0/16":            "no iptables data plane",
		"featureGates: {Foo: true}\nclusterCIDR: 10.0.0.0/16": "featureGates.Foo has no effect",
		"mode: nftables": "clusterCIDR: nothing is set",
		"nodePortAddresses: [127.0.0.0/8]\nclusterCIDR: 10.0.0.0/16": `nodePortAddresses[0] "127.0.0.0/8": node ports are never served on loopback`,
	} {
		config, err := decode(kubeHead + file)
		if err != nil || len(config.Warnings) != 1 || !strings.Contains(config.Warnings[0], want) {
			t.Errorf("%s: warnings %q, error %v, want %q", file, config.Warnings, err, want)
		}
	}
}

func TestTheBindAddressChoosesThePrimaryFamily(t *testing.T) {
	for text, want := range map[string]compile.PrimaryFamily{
		"": compile.PrimaryOfNode, "0.0.0.0": compile.PrimaryOfNode, "'::'": compile.PrimaryOfNode,
		"192.168.0.2": compile.PrimaryIPv4, "fd00::2": compile.PrimaryIPv6, "'::ffff:192.168.0.2'": compile.PrimaryIPv4,
	} {
		config, err := decode(kubeHead + "bindAddress: " + text + "\n")
		if err != nil || config.Settings.Primary != want {
			t.Errorf("bindAddress %s: %v, error %v; want %v", text, config.Settings.Primary, err, want)
		}
	}
}
