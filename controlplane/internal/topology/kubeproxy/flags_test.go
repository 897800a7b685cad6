package kubeproxy

import (
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/kubernetes/cmd/kube-proxy/app"

	"github.com/portolan-net/portolan/controlplane/internal/proxyconfig"
)

// TestEveryFlagOfKubeProxyIsImported: also those of a new version.
func TestEveryFlagOfKubeProxyIsImported(t *testing.T) {
	known := map[string]bool{}
	for _, flag := range proxyconfig.Flags {
		known[flag.Name] = true
	}
	flags := pflag.NewFlagSet("kube-proxy", pflag.ContinueOnError)
	app.NewOptions().AddFlags(flags)
	flags.VisitAll(func(flag *pflag.Flag) {
		if !known[flag.Name] {
			t.Errorf("portolan config import does not know --%s: %s", flag.Name, flag.Usage)
		}
	})
}
