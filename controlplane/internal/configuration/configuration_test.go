package configuration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

const head = "apiVersion: portolan.net/v1alpha1\nkind: Configuration\n"

// TestTheDefaultsAreThoseWithoutAFile: so do the types say, and a file that says
// nothing.
func TestTheDefaultsAreThoseWithoutAFile(t *testing.T) {
	defaults, err := Encode(v1alpha1.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"no file": nil, "an empty one": []byte(head), "all of them": defaults} {
		config, err := Decode(content, Overrides{})
		if diff := cmp.Diff(compile.DefaultSettings(), config.Settings, protocmp.Transform()); err != nil || diff != "" || len(config.Warnings) > 0 {
			t.Errorf("%s: error %v, warnings %q (-want +got)\n%s", name, err, config.Warnings, diff)
		}
	}
}

func TestEachFieldHasItsEffect(t *testing.T) {
	for field, change := range map[string]func(*compile.Settings){
		"mode: ipvs": func(s *compile.Settings) {
			s.Mode = discoveryv1.ProxyMode_PROXY_MODE_IPVS
			s.IPVS = &discoveryv1.Ipvs{Scheduler: "rr", TcpTimeout: seconds(0), TcpFinTimeout: seconds(0), UdpTimeout: seconds(0)}
		},
		"mode: ipvs\nipvs: {scheduler: mh, strictARP: true, tcpTimeout: 1s, tcpFinTimeout: 2s, udpTimeout: 3s, excludeCIDRs: [10.0.0.0/8]}": func(s *compile.Settings) {
			s.Mode = discoveryv1.ProxyMode_PROXY_MODE_IPVS
			s.IPVS = &discoveryv1.Ipvs{Scheduler: "mh", StrictArp: true, TcpTimeout: seconds(1), TcpFinTimeout: seconds(2), UdpTimeout: seconds(3), ExcludeCidrs: []string{"10.0.0.0/8"}}
		},
		"primaryFamily: IPv6":             func(s *compile.Settings) { s.Primary = compile.PrimaryIPv6 },
		"nodePortAddresses: [10.1.0.0/8]": func(s *compile.Settings) { s.NodePortAddresses = []string{"10.0.0.0/8"} },
		"nodePortAddresses: []":           func(*compile.Settings) {},
		"localhostNodePorts: true":        func(s *compile.Settings) { s.LocalhostNodePorts = true },
		"masquerade: {all: true, bit: 0}": func(s *compile.Settings) { s.MasqueradeAll, s.MasqueradeBit = true, 0 },
		"sync: {period: 1m, minPeriod: 1s}": func(s *compile.Settings) {
			s.SyncPeriod, s.MinSyncPeriod = time.Minute, time.Second
		},
		"conntrack: {maxPerCore: 1, udpTimeout: 5s}": func(s *compile.Settings) { s.Conntrack = &discoveryv1.Conntrack{MaxPerCore: 1, UdpTimeout: seconds(5)} },
		"allowExternalIPs: false":                    func(s *compile.Settings) { s.IgnoreExternalIPs = true },
		"detectLocal: {mode: BridgeInterface, interface: cni0}": func(s *compile.Settings) {
			s.DetectLocal, s.Interface = discoveryv1.DetectLocalMode_DETECT_LOCAL_MODE_BRIDGE_INTERFACE, "cni0"
		},
	} {
		want := compile.DefaultSettings()
		change(&want)
		config, err := decode(head + field + "\n")
		if diff := cmp.Diff(want, config.Settings, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: error %v (-want +got)\n%s", field, err, diff)
		}
	}
}

const fleet = head + `
mode: nftables
masquerade: {all: true, bit: 9}
nodePortAddresses: [10.0.0.0/8, 192.0.2.0/24]
allowExternalIPs: false
ipvs: {scheduler: lc, tcpTimeout: 90s}
nodes:
- name: gpu
  selector: {matchLabels: {accelerator: gpu}}
  sync: {period: 10s}
- name: edge
  selector:
    matchExpressions:
    - {key: role, operator: In, values: [edge, pop]}
    - {key: retired, operator: DoesNotExist}
  mode: ipvs
  masquerade: {all: false}
  nodePortAddresses: [primary]
  ipvs: {strictARP: true}
- name: rest-of-rack
  selector: {matchLabels: {rack: r7}}
  mode: ipvs
`

// TestNodesAreConfiguredByTheirLabels: the first group that selects a Node counts, alone,
// and what it does not say is as for all.
func TestNodesAreConfiguredByTheirLabels(t *testing.T) {
	config, err := decode(fleet)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		labels      map[string]string
		group, want string
	}{
		"no group":                        {map[string]string{"role": "worker"}, "", "NFTABLES true 9 [10.0.0.0/8 192.0.2.0/24] 30s  "},
		"an override":                     {map[string]string{"accelerator": "gpu"}, "gpu", "NFTABLES true 9 [10.0.0.0/8 192.0.2.0/24] 10s  "},
		"a mode, a false, a list, a part": {map[string]string{"role": "pop"}, "edge", "IPVS false 9 [primary] 30s lc 1m30s"},
		"the first counts":                {map[string]string{"accelerator": "gpu", "role": "edge", "rack": "r7"}, "gpu", "NFTABLES true 9 [10.0.0.0/8 192.0.2.0/24] 10s  "},
		"all of a selector must hold":     {map[string]string{"role": "edge", "retired": "yes"}, "", "NFTABLES true 9 [10.0.0.0/8 192.0.2.0/24] 30s  "},
		"a later one":                     {map[string]string{"rack": "r7"}, "rest-of-rack", "IPVS true 9 [10.0.0.0/8 192.0.2.0/24] 30s lc 1m30s"},
	} {
		t.Run(name, func(t *testing.T) {
			node := &model.Node{Name: "a", Labels: test.labels}
			group := ""
			if found := config.Settings.Group(node); found != nil {
				group = found.Name
			}
			c := nodeConfig(t, config.Settings, node)
			timeout := ""
			if c.GetIpvs() != nil {
				timeout = c.GetIpvs().GetTcpTimeout().AsDuration().String()
			}
			got := fmt.Sprint(strings.TrimPrefix(c.GetMode().String(), "PROXY_MODE_"), " ", c.GetMasqueradeAll(), c.GetMasqueradeBit(), c.GetNodePortAddresses(), " ",
				c.GetSyncPeriod().AsDuration(), " ", c.GetIpvs().GetScheduler(), " ", timeout)
			if group != test.group || got != test.want {
				t.Errorf("group %q, told %q; want %q, %q", group, got, test.group, test.want)
			}
		})
	}
	if !config.Settings.Groups[1].Settings.IgnoreExternalIPs {
		t.Error("what is for all nodes is not for a group")
	}
}

func TestErrorsNameLineFieldValueAndExpectation(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"a misspelt field":        {"masquerade:\n  bits: 3\n", `line 4: masquerade.bits: unknown field; did you mean "bit"?`},
		"one of kube-proxy's":     {"clusterCIDRs: [10.0.0.0/8]\n", `line 3: clusterCIDRs: unknown field; did you mean "detectLocal.clusterCIDRs"?`},
		"a repeated key":          {"mode: ipvs\nmode: ipvs\n", `line 4: key "mode" already set in map`},
		"a mode":                  {"mode: iptables\n", `line 3: mode "iptables": expected nftables or ipvs`},
		"a family":                {"primaryFamily: v6\n", `primaryFamily "v6": expected IPv4 or IPv6`},
		"a period of 0":           {"sync: {period: 0s}\n", `sync.period "0s": expected more than 0s`},
		"a duration":              {"sync:\n  period: soon\n", `line 4: sync.period "soon": expected a duration such as 30s`},
		"a bit":                   {"masquerade: {bit: 32}\n", `masquerade.bit "32": expected 0 to 31`},
		"a scheduler":             {"ipvs: {scheduler: RR}\n", `ipvs.scheduler "RR": expected one of`},
		"a group without a name":  {"nodes:\n- selector: {}\n", `line 4: nodes[0].name: expected a name for these nodes`},
		"a name twice":            {"nodes:\n- name: a\n- name: a\n", `line 5: nodes[1].name "a": expected each name once, but nodes[0] has it`},
		"a selector":              {"nodes:\n- name: a\n  selector: {matchExpressions: [{key: a, operator: Is}]}\n", `line 5: nodes[0].selector: expected a selector of labels: "Is" is not a valid label selector operator`},
		"a value in a group":      {"nodes:\n- name: a\n  mode: ebpf\n", `line 5: nodes[0].mode "ebpf": expected nftables or ipvs`},
		"a misspelt override":     {"nodes:\n- name: a\n  ipvs: {strictArp: true}\n", `line 5: nodes[0].ipvs.strictArp: unknown field; did you mean "strictARP"?`},
		"against what is for all": {"sync: {period: 10s}\nnodes:\n- name: a\n  sync: {minPeriod: 20s}\n", `line 6: nodes[0].sync.minPeriod "20s": expected at most the period, 10s`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := decode(head + test.file); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v\nwant  %s", err, test.want)
			}
		})
	}
}

func TestEveryFaultIsSaid(t *testing.T) {
	_, err := decode(head + "mode: ebpf\nmasquerade: {bit: 99}\n")
	if err == nil || strings.Count(err.Error(), "expected") != 2 {
		t.Error(err)
	}
}

func TestWhatHasNoEffectOnAnyNodeIsSaidOnce(t *testing.T) {
	config, err := decode(head + `
detectLocal: {mode: ClusterCIDR}
nodes:
- name: a
  sync: {period: 1s}
- name: b
  nodePortAddresses: [127.0.0.0/8]
`)
	want := []string{
		"detectLocal.clusterCIDRs: nothing is set: no traffic is known to come from pods, and none is masqueraded for it",
		`nodes[1].nodePortAddresses[0] "127.0.0.0/8": node ports are never served on loopback addresses by rules; localhostNodePorts has the agent do so`,
	}
	if diff := cmp.Diff(want, config.Warnings); err != nil || diff != "" {
		t.Errorf("error %v (-want +got)\n%s", err, diff)
	}
}

func TestFilesAreToldApart(t *testing.T) {
	for file, want := range map[string]string{
		"kind: Pod\napiVersion: v1\n":                                                `line 1: kind "Pod": expected apiVersion portolan.net/v1alpha1 and kind Configuration, or kubeproxy.config.k8s.io/v1alpha1 and KubeProxyConfiguration`,
		"kind: Configuration\napiVersion: portolan.net/v1alpha2\n":                   `line 2: apiVersion "portolan.net/v1alpha2": expected apiVersion portolan.net/v1alpha1 and kind Configuration, or`,
		"kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1\n":     `line 2: apiVersion "kubeproxy.config.k8s.io/v1": expected`,
		"kind: KubeletConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\n": "expected",
		"mode: nftables\n": `line 1: no apiVersion and kind: expected`,
		"":                 `the file is empty: expected apiVersion`,
		"- 1\n":            "line 1: no mapping: expected apiVersion",
		"a: b: c\n":        "expected YAML or JSON",
	} {
		if _, err := decode(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v\nwant %s", file, err, want)
		}
	}
}

func TestTheCommandLineComesBeforeTheFile(t *testing.T) {
	edge := &model.Node{Name: "a", Labels: map[string]string{"role": "edge"}}
	for mode, want := range map[string]discoveryv1.ProxyMode{
		"": discoveryv1.ProxyMode_PROXY_MODE_IPVS, "nftables": discoveryv1.ProxyMode_PROXY_MODE_NFTABLES, "ipvs": discoveryv1.ProxyMode_PROXY_MODE_IPVS,
	} {
		config, err := Decode([]byte(fleet), Overrides{Mode: mode, LocalhostNodePorts: mode != ""})
		told := nodeConfig(t, config.Settings, edge)
		if err != nil || told.GetMode() != want || told.GetLocalhostNodePorts() != (mode != "") || (told.GetIpvs() != nil) != (want == discoveryv1.ProxyMode_PROXY_MODE_IPVS) {
			t.Errorf("--mode %q: told %v, error %v", mode, told, err)
		}
	}
	if err := (Overrides{Mode: "ebpf"}).Check(); err == nil || err.Error() != `--mode "ebpf": expected nftables or ipvs` {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(fleet))
	f.Add([]byte(kubeHead + "mode: ipvs"))
	f.Fuzz(func(_ *testing.T, content []byte) { _, _ = decode(string(content)) })
}
