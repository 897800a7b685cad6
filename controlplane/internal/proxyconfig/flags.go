package proxyconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"

	"github.com/portolan-net/portolan/controlplane/internal/near"
	"github.com/portolan-net/portolan/controlplane/internal/strictyaml"
)

// Flag is a flag of kube-proxy's command line.
type Flag struct {
	Name string
	// Path is the field that it sets, and IPVSPath that in mode ipvs if it is another.
	// Both are empty for one that sets none.
	Path, IPVSPath string
	// Why says of a flag that sets no field what to do instead; it goes on after "it".
	Why  string
	kind kind
	// short is its letter, if it has one.
	short string
}

// kind is how the text of a flag is read.
type kind int

const (
	asText kind = iota
	asNumber
	asBool
	asList
	asGates
)

// Flags are all flags of kube-proxy.
var Flags = []Flag{
	{Name: "proxy-mode", Path: "mode"},
	{Name: "bind-address", Path: "bindAddress"},
	{Name: "nodeport-addresses", Path: "nodePortAddresses", kind: asList},
	{Name: "detect-local-mode", Path: "detectLocalMode"},
	{Name: "cluster-cidr", Path: "clusterCIDR"},
	{Name: "pod-bridge-interface", Path: "detectLocal.bridgeInterface"},
	{Name: "pod-interface-name-prefix", Path: "detectLocal.interfaceNamePrefix"},
	{Name: "masquerade-all", Path: "nftables.masqueradeAll", IPVSPath: "iptables.masqueradeAll", kind: asBool},
	{Name: "iptables-masquerade-bit", Path: "iptables.masqueradeBit", kind: asNumber},
	{Name: "iptables-localhost-nodeports", Path: "iptables.localhostNodePorts", kind: asBool},
	{Name: "iptables-sync-period", Path: "nftables.syncPeriod", IPVSPath: "iptables.syncPeriod"},
	{Name: "iptables-min-sync-period", Path: "nftables.minSyncPeriod", IPVSPath: "iptables.minSyncPeriod"},
	{Name: "ipvs-sync-period", Path: "ipvs.syncPeriod"},
	{Name: "ipvs-min-sync-period", Path: "ipvs.minSyncPeriod"},
	{Name: "ipvs-scheduler", Path: "ipvs.scheduler"},
	{Name: "ipvs-exclude-cidrs", Path: "ipvs.excludeCIDRs", kind: asList},
	{Name: "ipvs-strict-arp", Path: "ipvs.strictARP", kind: asBool},
	{Name: "ipvs-tcp-timeout", Path: "ipvs.tcpTimeout"},
	{Name: "ipvs-tcpfin-timeout", Path: "ipvs.tcpFinTimeout"},
	{Name: "ipvs-udp-timeout", Path: "ipvs.udpTimeout"},
	{Name: "conntrack-max-per-core", Path: "conntrack.maxPerCore", kind: asNumber},
	{Name: "conntrack-min", Path: "conntrack.min", kind: asNumber},
	{Name: "conntrack-tcp-timeout-established", Path: "conntrack.tcpEstablishedTimeout"},
	{Name: "conntrack-tcp-timeout-close-wait", Path: "conntrack.tcpCloseWaitTimeout"},
	{Name: "conntrack-tcp-be-liberal", Path: "conntrack.tcpBeLiberal", kind: asBool},
	{Name: "conntrack-udp-timeout", Path: "conntrack.udpTimeout"},
	{Name: "conntrack-udp-timeout-stream", Path: "conntrack.udpStreamTimeout"},
	{Name: "feature-gates", Path: "featureGates", kind: asGates},
	{Name: "hostname-override", Path: "hostnameOverride"},
	{Name: "healthz-bind-address", Path: "healthzBindAddress"},
	{Name: "metrics-bind-address", Path: "metricsBindAddress"},
	{Name: "bind-address-hard-fail", Path: "bindAddressHardFail", kind: asBool},
	{Name: "profiling", Path: "enableProfiling", kind: asBool},
	{Name: "oom-score-adj", Path: "oomScoreAdj", kind: asNumber},
	{Name: "kubeconfig", Path: "clientConnection.kubeconfig"},
	{Name: "kube-api-content-type", Path: "clientConnection.contentType"},
	{Name: "kube-api-burst", Path: "clientConnection.burst", kind: asNumber},
	{Name: "kube-api-qps", Path: "clientConnection.qps", kind: asNumber},
	{Name: "config-sync-period", Path: "configSyncPeriod"},
	{Name: "show-hidden-metrics-for-version", Path: "showHiddenMetricsForVersion"},

	{Name: "config", Why: "names a file, before which flags do not count: import that file"},
	{Name: "write-config-to", Why: "is portolan config import --write"},
	{Name: "cleanup", Why: "is portolan-agent cleanup", kind: asBool},
	{Name: "init-only", Why: "is portolan-agent --init-only", kind: asBool},
	{Name: "master", Why: planeFlag + "kubeconfig"},
	{Name: "healthz-port", Why: agentFlag + "healthz-bind-address"},
	{Name: "metrics-port", Why: agentFlag + "metrics-bind-address"},
	{Name: "v", short: "v", Why: loggingFlags},
	{Name: "vmodule", Why: loggingFlags},
	{Name: "logging-format", Why: loggingFlags},
	{Name: "log-flush-frequency", Why: loggingFlags},
	{Name: "log-json-info-buffer-size", Why: loggingFlags},
	{Name: "log-json-split-stream", Why: loggingFlags, kind: asBool},
	{Name: "log-text-info-buffer-size", Why: loggingFlags},
	{Name: "log-text-split-stream", Why: loggingFlags, kind: asBool},
	{Name: "version", Why: "is portolan-agent version", kind: asBool},
	{Name: "boot-id-file", Why: cAdvisors},
	{Name: "machine-id-file", Why: cAdvisors},
	{Name: "windows-service", Why: windowsOnly, kind: asBool},
	{Name: "network-name", Why: windowsOnly},
	{Name: "source-vip", Why: windowsOnly},
	{Name: "enable-dsr", Why: windowsOnly, kind: asBool},
	{Name: "root-hnsendpoint-name", Why: windowsOnly},
	{Name: "forward-healthcheck-vip", Why: windowsOnly, kind: asBool},
}

const cAdvisors = "is of cAdvisor's code, and had no effect in kube-proxy either"

const loggingFlags = "is set by the flags --log-level and --log-format of each program"

// given is the value of a flag; it is a pflag.Value.
type given struct {
	*Flag
	texts []string
}

// String implements pflag.Value.
func (g *given) String() string { return strings.Join(g.texts, ",") }

// Set implements pflag.Value. Of all but lists the last counts.
func (g *given) Set(text string) error {
	if g.kind != asList && g.kind != asGates {
		g.texts = nil
	}
	g.texts = append(g.texts, text)
	return nil
}

// Type implements pflag.Value.
func (g *given) Type() string { return "value" }

// FromFlags imports a command line of kube-proxy, without the program's name.
func FromFlags(args []string) (*Import, error) {
	set := pflag.NewFlagSet("kube-proxy", pflag.ContinueOnError)
	set.SetNormalizeFunc(dashes)
	set.SortFlags = false
	var list []*given
	for i := range Flags {
		g := &given{Flag: &Flags[i]}
		flag := set.VarPF(g, g.Name, g.short, "")
		if g.kind == asBool {
			flag.NoOptDefVal = "true"
		}
	}
	if err := set.Parse(args); err != nil {
		return nil, fmt.Errorf("kube-proxy's flags: %w%s", err, meant(err))
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("kube-proxy's flags: %q: expected flags only", set.Args())
	}
	set.Visit(func(flag *pflag.Flag) { list = append(list, flag.Value.(*given)) })
	return fromGiven(list, set.Lookup("proxy-mode").Value.String() == "ipvs")
}

// dashes lets flags be written with underscores, as kube-proxy does.
func dashes(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}

// meant hints at the flag that somebody may have meant.
func meant(err error) string {
	_, name, isLong := strings.Cut(err.Error(), "unknown flag: --")
	if !isLong {
		return ""
	}
	var names []string
	for _, flag := range Flags {
		names = append(names, flag.Name)
	}
	return near.Hint(name, names)
}

// fromGiven makes the file that the flags stand for, and imports it.
func fromGiven(list []*given, inIPVS bool) (*Import, error) {
	imported := &Import{file: &file{}, flags: map[string]string{}}
	content := map[string]any{"apiVersion": kubeproxyv1alpha1.SchemeGroupVersion.String(), "kind": Kind}
	var fields []leaf
	var others []Item
	for _, g := range list {
		path := g.Path
		if inIPVS && g.IPVSPath != "" {
			path = g.IPVSPath
		}
		if path == "" {
			others = append(others, Item{Field: "--" + g.Name, Value: g.String(), Outcome: Ignored, Note: g.Why, about: "--" + g.Name})
			continue
		}
		set, err := g.put(content, path)
		if err != nil {
			return nil, err
		}
		for _, leaf := range set {
			imported.flags[leaf.path] = "--" + g.Name
		}
		fields = append(fields, set...)
	}
	if err := imported.fill(content); err != nil {
		return nil, err
	}
	if err := imported.convert(fields); err != nil {
		return nil, err
	}
	imported.Items = slices.Concat(imported.Items, others, imported.defaulted())
	return imported, nil
}

// fill decodes what the flags say as the file that says so.
func (i *Import) fill(content map[string]any) error {
	data, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("kube-proxy's flags: %w", err)
	}
	var all []error
	for _, fault := range strictyaml.Unmarshal(data, i.file) {
		if flag, ok := i.flags[fault.Field]; ok {
			fault.Field = flag
		}
		all = append(all, fault)
	}
	return errors.Join(all...)
}

// put sets the field of a file, and returns what that sets.
func (g *given) put(content map[string]any, path string) ([]leaf, error) {
	if g.kind == asGates {
		return g.putGates(content, path)
	}
	value, err := g.value()
	if err != nil {
		return nil, err
	}
	put(content, path, value)
	return []leaf{{path: path, value: g.String()}}, nil
}

// value returns the flag's value as JSON would have it.
func (g *given) value() (any, error) {
	text := g.String()
	switch g.kind {
	case asBool:
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("--%s %q: expected true or false", g.Name, text)
		}
		return text == "true", nil
	case asNumber:
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return nil, fmt.Errorf("--%s %q: expected a number", g.Name, text)
		}
		return json.Number(text), nil
	case asList:
		return strings.Split(text, ","), nil
	default:
		return text, nil
	}
}

func (g *given) putGates(content map[string]any, path string) ([]leaf, error) {
	var set []leaf
	for _, gate := range strings.Split(g.String(), ",") {
		name, value, found := strings.Cut(strings.TrimSpace(gate), "=")
		if !found || value != "true" && value != "false" {
			return nil, fmt.Errorf("--%s %q: expected gates such as %s=true", g.Name, gate, externalIPsGate)
		}
		put(content, path+"."+name, value == "true")
		set = append(set, leaf{path: path + "." + name, value: name + "=" + value})
	}
	return set, nil
}

// put sets a value in nested mappings.
func put(into map[string]any, path string, value any) {
	for {
		parent, rest, nested := strings.Cut(path, ".")
		if !nested {
			into[path] = value
			return
		}
		inner, ok := into[parent].(map[string]any)
		if !ok {
			inner = map[string]any{}
			into[parent] = inner
		}
		into, path = inner, rest
	}
}
