package config

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

func run(t *testing.T, stdin string, args ...string) (out, errOut string, err error) {
	t.Helper()
	command := Command()
	command.SilenceErrors, command.SilenceUsage = true, true
	var stdout, stderr bytes.Buffer
	command.SetIn(strings.NewReader(stdin))
	command.SetOut(&stdout)
	command.SetErr(&stderr)
	command.SetArgs(append([]string{"import"}, args...))
	err = command.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAFileIsImported(t *testing.T) {
	out, errOut, err := run(t, head+"mode: ipvs\nipvs: {scheduler: rr, syncPeriod: 30s}\nportRange: 1-2\n", "-")
	if err != nil || !strings.HasPrefix(errOut, "warning: clusterCIDR: nothing is set") {
		t.Errorf("error %v, %s", err, errOut)
	}
	expect(t, out, `
FIELD                             VALUE   OUTCOME    BECOMES                                NOTE
mode                              ipvs    honoured   mode: ipvs                             -
ipvs.syncPeriod                   30s     mapped     sync.period: 30s                       -
ipvs.scheduler                    rr      honoured   ipvs.scheduler: rr                     -
portRange                         1-2     ignored    -                                      had no effect in kube-proxy either
nodePortAddresses                 -       default    nodePortAddresses: 0.0.0.0/0,::/0      kube-proxy's default
detectLocalMode                   -       default    detectLocal.mode: ClusterCIDR          kube-proxy's default
conntrack.maxPerCore              -       default    conntrack.maxPerCore: 32768            kube-proxy's default
conntrack.min                     -       default    conntrack.min: 131072                  kube-proxy's default
conntrack.tcpEstablishedTimeout   -       default    conntrack.tcpEstablishedTimeout: 24h   kube-proxy's default
conntrack.tcpCloseWaitTimeout     -       default    conntrack.tcpCloseWaitTimeout: 1h      kube-proxy's default
`)
}

func TestFlagsAreImported(t *testing.T) {
	out, _, err := run(t, "", "-o", "json", "--", "--proxy-mode=nftables", "--v=2", "--cluster-cidr=10.0.0.0/8", "--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0s")
	if err != nil {
		t.Error(err)
	}
	expect(t, out, `
{
  "fields": [
    {
      "field": "--proxy-mode",
      "value": "nftables",
      "outcome": "honoured",
      "to": "mode: nftables"
    },
    {
      "field": "--cluster-cidr",
      "value": "10.0.0.0/8",
      "outcome": "mapped",
      "to": "detectLocal.clusterCIDRs: 10.0.0.0/8"
    },
    {
      "field": "--conntrack-max-per-core",
      "value": "0",
      "outcome": "honoured",
      "to": "conntrack.maxPerCore: 0"
    },
    {
      "field": "--conntrack-min",
      "value": "0",
      "outcome": "honoured",
      "to": "conntrack.min: 0"
    },
    {
      "field": "--conntrack-tcp-timeout-established",
      "value": "0s",
      "outcome": "honoured",
      "to": "conntrack.tcpEstablishedTimeout: 0s"
    },
    {
      "field": "--v",
      "value": "2",
      "outcome": "ignored",
      "note": "is set by the flags --log-level and --log-format of each program"
    },
    {
      "field": "--detect-local-mode",
      "value": "",
      "outcome": "default",
      "to": "detectLocal.mode: ClusterCIDR",
      "note": "kube-proxy's default"
    },
    {
      "field": "--conntrack-tcp-timeout-close-wait",
      "value": "",
      "outcome": "default",
      "to": "conntrack.tcpCloseWaitTimeout: 1h",
      "note": "kube-proxy's default"
    }
  ],
  "warnings": []
}
`)
}

func TestTheConfigurationIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portolan.yaml")
	file := head + "clusterCIDR: 10.244.0.0/16\nconntrack: {tcpEstablishedTimeout: 86400s}\n"
	printed, _, err := run(t, file, "-", "-o", "portolan", "--write", path)
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, string(written), printed)
	expect(t, printed, `
apiVersion: portolan.net/v1alpha1
kind: Configuration
nodePortAddresses:
  - 0.0.0.0/0
  - ::/0
detectLocal:
  mode: ClusterCIDR
  clusterCIDRs:
    - 10.244.0.0/16
conntrack:
  maxPerCore: 32768
  min: 131072
  tcpEstablishedTimeout: 24h
  tcpCloseWaitTimeout: 1h
`)
}

// TestAClusterIsImported asks an API server that has nothing but the ConfigMap.
func TestAClusterIsImported(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces/kube-system/configmaps/kube-proxy" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-proxy"}, "data": {"config.conf": %q}}`, head+"mode: ipvs\nipvs: {strictArp: true}\n")
	}))
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	content := fmt.Sprintf("{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}", server.URL)
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = `configuration ConfigMap kube-system/kube-proxy, config.conf: line 4: ipvs.strictArp: unknown field; did you mean "strictARP"?`
	if _, _, err := run(t, "", "--from-cluster", "--kubeconfig", kubeconfig); err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

func TestErrorsSayWhatIsExpected(t *testing.T) {
	for _, test := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", nil, "expected one of: a file, --from-cluster, or flags of kube-proxy after --"},
		{"", []string{"a", "b"}, "expected one of"},
		{"", []string{"a", "--", "--proxy-mode=ipvs"}, "expected one of"},
		{"", []string{"--from-cluster", "a"}, "expected one of"},
		{"", []string{"--from-cluster", "--", "--proxy-mode=ipvs"}, "expected one of"},
		{"", []string{"a", "--kubeconfig", "b"}, "--kubeconfig: expected with --from-cluster only"},
		{"", []string{"nowhere"}, "open nowhere: no such file"},
		{"", []string{"--", "--proxy-mod=ipvs"}, `kube-proxy's flags: unknown flag: --proxy-mod; did you mean "proxy-mode"?`},
		{"", []string{"--", "-x"}, `kube-proxy's flags: unknown shorthand flag: 'x' in -x`},
		{head + "mode: ipvs\nipvs:\n  scheduler: rrr\n  udpTimeout: 5ms\n", []string{"-"}, "configuration standard input: line 5: ipvs.scheduler \"rrr\": expected one of rr"},
		{head + "mode: ipvs\nipvs:\n  scheduler: rrr\n  udpTimeout: 5ms\n", []string{"-"}, "\nconfiguration standard input: line 6: ipvs.udpTimeout \"5ms\": expected 0s"},
		{"apiVersion: portolan.net/v1alpha1\nkind: Configuration\n", []string{"-"}, "is Portolan's own configuration already"},
		{"kind: Pod\napiVersion: v1\n", []string{"-"}, `kind "Pod": expected`},
		{head, []string{"-", "-w", "/nowhere/file"}, "--write: open /nowhere/file: no such file"},
	} {
		if _, _, err := run(t, test.stdin, test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v\nwant %s", test.args, err, test.want)
		}
	}
}
