package kubeproxy

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/testing/protocmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/cmd/kube-proxy/app"
	proxyutil "k8s.io/kubernetes/pkg/proxy/util"

	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/configuration"
)

// TestWhatAFileDoesNotSayIsAsInKubeProxy: a file means the same when kube-proxy itself has
// filled in what it does not say.
func TestWhatAFileDoesNotSayIsAsInKubeProxy(t *testing.T) {
	const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	for name, text := range map[string]string{
		"nothing": "", "nftables": "mode: nftables\n", "ipvs": "mode: ipvs\n", "iptables": "mode: iptables\n",
		"a part of a mapping": "mode: ipvs\nconntrack: {min: 5}\nipvs: {strictARP: true}\n",
		"a period":            "mode: ipvs\nipvs: {syncPeriod: 10s, minSyncPeriod: 2s}\n",
		"node ports":          "mode: ipvs\nnodePortAddresses: [10.0.0.0/8]\n",
	} {
		t.Run(name, func(t *testing.T) {
			silent, filled := settings(t, []byte(head+text)), settings(t, complete(t, head+text))
			// Changes go to the kernel at once, which is what a period of 1s was to spare it.
			if silent.MinSyncPeriod == 0 && filled.MinSyncPeriod == time.Second {
				filled.MinSyncPeriod = 0
			}
			if diff := cmp.Diff(filled, silent, protocmp.Transform()); diff != "" {
				t.Errorf("(-kube-proxy +ours)\n%s", diff)
			}
			all := proxyutil.NewNodePortAddresses(v1.IPv4Protocol, nil).MatchAll()
			if ours := silent.NodePortAddresses[0] == "0.0.0.0/0"; name != "nftables" && name != "node ports" && ours != all {
				t.Errorf("node ports on %q, in kube-proxy on all addresses: %v", silent.NodePortAddresses, all)
			}
		})
	}
}

func settings(t *testing.T, text []byte) compile.Settings {
	t.Helper()
	config, err := configuration.Decode(text, configuration.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	return config.Settings
}

// complete has kube-proxy write the configuration that it would run with.
func complete(t *testing.T, text string) []byte {
	t.Helper()
	given, written := filepath.Join(t.TempDir(), "config.yaml"), filepath.Join(t.TempDir(), "written.yaml")
	if err := os.WriteFile(given, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	options, flags := app.NewOptions(), pflag.NewFlagSet("kube-proxy", pflag.ContinueOnError)
	options.AddFlags(flags)
	if err := flags.Parse([]string{"--config=" + given, "--write-config-to=" + written}); err != nil {
		t.Fatal(err)
	}
	if err := options.Complete(flags); err != nil {
		t.Fatal(err)
	}
	if err := options.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(written)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
