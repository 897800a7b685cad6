package proxyconfig

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/portolan-net/portolan/api/config/v1alpha1"
)

const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

// values are files that set one field each, of every field of the type.
var values = map[string]string{
	"featureGates":                "featureGates: {AllowServiceExternalIPs: false}",
	"clientConnection.kubeconfig": "clientConnection: {kubeconfig: a}", "clientConnection.acceptContentTypes": "clientConnection: {acceptContentTypes: a}",
	"clientConnection.contentType": "clientConnection: {contentType: a}", "clientConnection.qps": "clientConnection: {qps: 5}", "clientConnection.burst": "clientConnection: {burst: 5}",
	"logging":          "logging: {format: json}",
	"hostnameOverride": "hostnameOverride: a", "bindAddress": "bindAddress: 192.0.2.1", "healthzBindAddress": "healthzBindAddress: 0.0.0.0:10256",
	"metricsBindAddress": "metricsBindAddress: 127.0.0.1", "bindAddressHardFail": "bindAddressHardFail: true", "enableProfiling": "enableProfiling: true",
	"showHiddenMetricsForVersion": "showHiddenMetricsForVersion: '1.35'",
	"mode":                        "mode: nftables",
	"iptables.masqueradeBit":      "mode: ipvs\niptables: {masqueradeBit: 3}", "iptables.masqueradeAll": "mode: ipvs\niptables: {masqueradeAll: true}",
	"iptables.localhostNodePorts": "iptables: {localhostNodePorts: false}", "iptables.syncPeriod": "iptables: {syncPeriod: 30s}", "iptables.minSyncPeriod": "iptables: {minSyncPeriod: 1s}",
	"ipvs.syncPeriod": "mode: ipvs\nipvs: {syncPeriod: 30s}", "ipvs.minSyncPeriod": "mode: ipvs\nipvs: {minSyncPeriod: 1s}", "ipvs.scheduler": "ipvs: {scheduler: mh}",
	"ipvs.excludeCIDRs": "ipvs: {excludeCIDRs: [10.0.0.0/8]}", "ipvs.strictARP": "ipvs: {strictARP: true}", "ipvs.tcpTimeout": "ipvs: {tcpTimeout: 1s}",
	"ipvs.tcpFinTimeout": "ipvs: {tcpFinTimeout: 1s}", "ipvs.udpTimeout": "ipvs: {udpTimeout: 1s}",
	"nftables.masqueradeBit": "nftables: {masqueradeBit: 3}", "nftables.masqueradeAll": "nftables: {masqueradeAll: true}",
	"nftables.syncPeriod": "nftables: {syncPeriod: 30s}", "nftables.minSyncPeriod": "nftables: {minSyncPeriod: 1s}",
	"winkernel":       "winkernel: {networkName: a}",
	"detectLocalMode": "detectLocalMode: NodeCIDR", "detectLocal.bridgeInterface": "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}",
	"detectLocal.interfaceNamePrefix": "detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: veth}",
	"clusterCIDR":                     "clusterCIDR: 10.0.0.0/8", "nodePortAddresses": "nodePortAddresses: [10.0.0.0/8]", "oomScoreAdj": "oomScoreAdj: -999",
	"conntrack.maxPerCore": "conntrack: {maxPerCore: 0}", "conntrack.min": "conntrack: {min: 3}", "conntrack.tcpEstablishedTimeout": "conntrack: {tcpEstablishedTimeout: 1s}",
	"conntrack.tcpCloseWaitTimeout": "conntrack: {tcpCloseWaitTimeout: 1s}", "conntrack.tcpBeLiberal": "conntrack: {tcpBeLiberal: true}",
	"conntrack.udpTimeout": "conntrack: {udpTimeout: 1s}", "conntrack.udpStreamTimeout": "conntrack: {udpStreamTimeout: 1s}",
	"configSyncPeriod": "configSyncPeriod: 15m", "portRange": "portRange: 1-2", "windowsRunAsService": "windowsRunAsService: true",
}

// fieldsOf lists the type's fields; those whose insides are all alike, once.
func fieldsOf(t reflect.Type, prefix string) []string {
	var list []string
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		path := prefix + name
		switch {
		case name == "" || name == "apiVersion" || name == "kind":
		case field.Type.Kind() == reflect.Struct && path != "logging" && path != "winkernel" && field.Type.Name() != "Duration":
			list = append(list, fieldsOf(field.Type, path+".")...)
		default:
			list = append(list, path)
		}
	}
	return list
}

// TestEveryFieldIsHonouredMappedOrIgnored sets each field of the type by itself, so that
// one that is new to it is not passed over in silence.
func TestEveryFieldIsHonouredMappedOrIgnored(t *testing.T) {
	for _, path := range fieldsOf(reflect.TypeFor[file](), "") {
		t.Run(path, func(t *testing.T) {
			imported, err := FromFile([]byte(head + values[path]))
			if err != nil {
				t.Fatal(err)
			}
			field := find(path)
			if field == nil && path != "featureGates" {
				t.Fatal("the table has no such field")
			}
			i := slices.IndexFunc(imported.Items, func(item Item) bool { return find(item.Field) == field || strings.HasPrefix(item.Field, path) })
			if i < 0 {
				t.Fatalf("nothing is said of it: %+v", imported.Items)
			}
			item := imported.Items[i]
			field = find(item.Field)
			without, err := FromFile([]byte(head + without(values[path])))
			if err != nil {
				t.Fatal(err)
			}
			changes := !cmp.Equal(without.Configuration, imported.Configuration)
			if effective := item.Outcome != Ignored; effective != (field.Own != "") || effective != changes && path != "mode" && item.To != "localhostNodePorts: false" {
				t.Errorf("is %s to %q, and changes the configuration: %v", item.Outcome, item.To, changes)
			}
			if item.Outcome == Ignored && !strings.Contains(strings.Join(imported.Warnings(), "\n"), field.Path+" has no effect here: it "+field.Why) {
				t.Errorf("warnings %q", imported.Warnings())
			}
		})
	}
}

// without leaves out the last line, which sets the field in question.
func without(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[:len(lines)-1], "\n")
}

func TestOurFieldsExist(t *testing.T) {
	defaults := tree(v1alpha1.Defaults())
	unset := []string{"primaryFamily", "detectLocal.clusterCIDRs", "detectLocal.interface", "ipvs.excludeCIDRs"}
	for _, field := range Fields {
		if field.Own != "" && lookup(defaults, field.Own) == nil && !slices.Contains(unset, field.Own) {
			t.Errorf("%s is mapped to %s, which there is not", field.Path, field.Own)
		}
	}
}

func describe(items []Item) string {
	var text strings.Builder
	for _, item := range items {
		fmt.Fprintf(&text, "%s %s %s %s|%s\n", item.Field, item.Value, item.Outcome, item.To, item.Note)
	}
	return text.String()
}

func TestWhatCountsInAnotherModeIsIgnored(t *testing.T) {
	for text, want := range map[string]string{
		"mode: iptables\niptables: {masqueradeAll: true, localhostNodePorts: true}": `
mode iptables mapped mode: nftables|Portolan has no iptables data plane; nftables is used
iptables.masqueradeAll true ignored |counts in mode ipvs: in mode nftables set nftables.masqueradeAll
iptables.localhostNodePorts true ignored |is asked for apart: set localhostNodePorts in a Portolan configuration, or portolan-controlplane --localhost-node-ports
`,
		"mode: ipvs\nnftables: {masqueradeBit: 3, syncPeriod: 1m}\nipvs: {syncPeriod: 2m}": `
mode ipvs honoured mode: ipvs|
ipvs.syncPeriod 2m mapped sync.period: 2m|
nftables.masqueradeBit 3 ignored |counts in mode nftables: in mode ipvs set iptables.masqueradeBit
nftables.syncPeriod 1m ignored |counts in mode nftables: in mode ipvs set ipvs.syncPeriod
`,
		"detectLocalMode: NodeCIDR\nclusterCIDR: 10.0.0.0/8\nbindAddress: '::'\nfeatureGates: {AllowServiceExternalIPs: true, Foo: true}": `
featureGates.AllowServiceExternalIPs true mapped allowExternalIPs: true|
featureGates.Foo true ignored |is a gate of kube-proxy's own code
bindAddress :: ignored |chooses no family: that of the Node's first address is the primary one
detectLocalMode NodeCIDR mapped detectLocal.mode: NodeCIDR|
clusterCIDR 10.0.0.0/8 ignored |counts in detectLocalMode ClusterCIDR only
`,
	} {
		imported, err := FromFile([]byte(head + text))
		if err != nil {
			t.Fatal(err)
		}
		set := slices.DeleteFunc(imported.Items, func(item Item) bool { return item.Outcome == Default })
		if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), describe(set)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", text, diff)
		}
	}
}

// TestDefaultsThatAreNotOursAreListed: what is written for fields that nobody set.
func TestDefaultsThatAreNotOursAreListed(t *testing.T) {
	const conntrack = `
conntrack.maxPerCore  default conntrack.maxPerCore: 32768|kube-proxy's default
conntrack.min  default conntrack.min: 131072|kube-proxy's default
conntrack.tcpEstablishedTimeout  default conntrack.tcpEstablishedTimeout: 24h|kube-proxy's default
conntrack.tcpCloseWaitTimeout  default conntrack.tcpCloseWaitTimeout: 1h|kube-proxy's default
`
	const detector = "\ndetectLocalMode  default detectLocal.mode: ClusterCIDR|kube-proxy's default"
	const nodePorts = "\nnodePortAddresses  default nodePortAddresses: 0.0.0.0/0,::/0|kube-proxy's default"
	for text, want := range map[string]string{
		"":                                    nodePorts + detector + conntrack,
		"mode: iptables":                      nodePorts + detector + conntrack,
		"mode: ipvs\nclusterCIDR: 10.0.0.0/8": nodePorts + detector + conntrack,
		"mode: nftables\ndetectLocalMode: NodeCIDR":  conntrack,
		"mode: ipvs\nnodePortAddresses: [primary]":   detector + conntrack,
		"mode: nftables\nconntrack: {maxPerCore: 0}": detector + "\n" + strings.Join(strings.Split(conntrack, "\n")[2:], "\n"),
	} {
		imported, err := FromFile([]byte(head + text))
		if err != nil {
			t.Fatal(err)
		}
		unset := slices.DeleteFunc(imported.Items, func(item Item) bool { return item.Outcome != Default })
		if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), describe(unset)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", text, diff)
		}
	}
}

func TestFlagsMeanWhatTheirFieldsDo(t *testing.T) {
	for args, text := range map[string]string{
		"--proxy-mode=ipvs --ipvs-scheduler=rr --ipvs-strict-arp --ipvs-sync-period 10s --ipvs-min-sync-period=1s --iptables-sync-period=9s --masquerade-all --iptables-masquerade-bit=3": `
mode: ipvs
ipvs: {scheduler: rr, strictARP: true, syncPeriod: 10s, minSyncPeriod: 1s}
iptables: {masqueradeAll: true, masqueradeBit: 3, syncPeriod: 9s}
`,
		"--masquerade-all=true --iptables-sync-period=9s --iptables-min-sync-period=1s --nodeport-addresses=10.0.0.0/8,fd00::/8 --nodeport-addresses=192.0.2.0/24": `
nftables: {masqueradeAll: true, syncPeriod: 9s, minSyncPeriod: 1s}
nodePortAddresses: [10.0.0.0/8, fd00::/8, 192.0.2.0/24]
`,
		"--detect_local_mode=InterfaceNamePrefix --pod-interface-name-prefix=veth --bind-address=fd00::1 --feature-gates=AllowServiceExternalIPs=false": `
detectLocalMode: InterfaceNamePrefix
detectLocal: {interfaceNamePrefix: veth}
bindAddress: fd00::1
featureGates: {AllowServiceExternalIPs: false}
`,
		"--cluster-cidr=10.0.0.0/8 --conntrack-max-per-core=0 --conntrack-min=5 --conntrack-tcp-timeout-established=1h --conntrack-tcp-timeout-close-wait=1m --conntrack-tcp-be-liberal --conntrack-udp-timeout=1s --conntrack-udp-timeout-stream=2s": `
clusterCIDR: 10.0.0.0/8
conntrack: {maxPerCore: 0, min: 5, tcpEstablishedTimeout: 1h, tcpCloseWaitTimeout: 1m, tcpBeLiberal: true, udpTimeout: 1s, udpStreamTimeout: 2s}
`,
	} {
		flags, err := FromFlags(strings.Fields(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		want, err := FromFile([]byte(head + text))
		if diff := cmp.Diff(want.Configuration, flags.Configuration); diff != "" || err != nil {
			t.Errorf("%s: error %v (-file +flags)\n%s", args, err, diff)
		}
		if given := len(strings.Split(args, "--")) - 1; len(flags.Items) < given-1 {
			t.Errorf("%s: of %d flags only\n%s", args, given, describe(flags.Items))
		}
	}
}

// TestEveryFlagIsHonouredMappedOrIgnored: each by itself has its row, with its name.
func TestEveryFlagIsHonouredMappedOrIgnored(t *testing.T) {
	texts := map[kind]string{asText: "1s", asNumber: "1", asBool: "true", asList: "10.0.0.0/8", asGates: "Foo=true"}
	special := map[string]string{"bind-address": "192.0.2.1", "healthz-bind-address": "0.0.0.0:1", "metrics-bind-address": "127.0.0.1:1"}
	for _, flag := range Flags {
		value := texts[flag.kind]
		if special[flag.Name] != "" {
			value = special[flag.Name]
		}
		imported, err := FromFlags([]string{"--" + flag.Name + "=" + value})
		if err != nil {
			t.Errorf("--%s: %v", flag.Name, err)
			continue
		}
		if len(imported.Items) == 0 || imported.Items[0].Field != "--"+flag.Name || imported.Items[0].Value != value {
			t.Errorf("--%s: %+v", flag.Name, imported.Items)
		}
		if item := imported.Items[0]; (item.Outcome == Ignored) != (item.Note != "") || (item.Outcome == Ignored) != (item.To == "") {
			t.Errorf("--%s: %+v", flag.Name, item)
		}
		if flag.Path != "" && find(flag.Path) == nil {
			t.Errorf("--%s sets %s, which there is not", flag.Name, flag.Path)
		}
	}
}

func TestErrorsOfFlagsNameTheFlag(t *testing.T) {
	for args, want := range map[string]string{
		"--proxy-mod=ipvs":             `unknown flag: --proxy-mod; did you mean "proxy-mode"?`,
		"--ipvs-strict-arp=maybe":      `--ipvs-strict-arp "maybe": expected true or false`,
		"--conntrack-min=many":         `--conntrack-min "many": expected a number`,
		"--conntrack-min=1.5":          `--conntrack-min "1.5": expected a whole number`,
		"--ipvs-tcp-timeout=soon":      `--ipvs-tcp-timeout "soon": expected a duration such as 30s`,
		"--feature-gates=Foo":          `--feature-gates "Foo": expected gates such as AllowServiceExternalIPs=true`,
		"--bind-address=here":          `--bind-address "here": expected an IP address`,
		"--oom-score-adj=-1001":        `--oom-score-adj "-1001": expected -1000 to 1000`,
		"--ipvs-sync-period=-1s":       `--ipvs-sync-period "-1s": expected at least 0s`,
		"kube-proxy --proxy-mode=ipvs": `["kube-proxy"]: expected flags only`,
	} {
		if _, err := FromFlags(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v\nwant %s", args, err, want)
		}
	}
}

func TestOurFieldsAreCalledAsWhereTheyComeFrom(t *testing.T) {
	file, err := FromFile([]byte(head + "mode: ipvs\ndetectLocalMode: BridgeInterface"))
	if err != nil {
		t.Fatal(err)
	}
	flags, err := FromFlags([]string{"--iptables-sync-period=1s", "--nodeport-addresses=x"})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{
		file.Name("sync.period"), file.Name("masquerade.bit"), file.Name("detectLocal.interface"), file.Name("nodePortAddresses[2]"), file.Name("unheard.of"),
		flags.Name("sync.period"), flags.Name("nodePortAddresses[0]"), flags.Name("detectLocal.clusterCIDRs[1]"),
	}
	want := []string{
		"ipvs.syncPeriod", "iptables.masqueradeBit", "detectLocal.bridgeInterface", "nodePortAddresses[2]", "unheard.of",
		"--iptables-sync-period", "--nodeport-addresses", "clusterCIDR",
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func FuzzFromFile(f *testing.F) {
	f.Add([]byte(head + "mode: ipvs"))
	f.Fuzz(func(_ *testing.T, content []byte) { _, _ = FromFile(content) })
}
