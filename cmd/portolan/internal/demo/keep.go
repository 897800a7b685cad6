package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/portolan-net/portolan/cmd/portolan/internal/demo/netlab"
	"github.com/portolan-net/portolan/cmd/portolan/internal/sandbox"
)

// keep prints what to try and waits for Ctrl-C.
func (l *lab) keep(ctx context.Context) {
	self, err := os.Executable()
	if err != nil {
		self = "portolan"
	}
	socket := l.path("admin.sock")
	l.Title("\nThe cluster stays until Ctrl-C. In another terminal:")
	l.Command("Say once which control plane to ask:", "export PORTOLAN_SERVER="+l.admin())
	l.Command("Which revision has every node applied?", self+" get nodes")
	l.Command("Why does node-a see the Service as it does?", self+" explain demo/web --node node-a")
	l.Command("What is in node-a's kernel? (needs nft)", enter(l.node("a").namespace)+" nft list table ip portolan")
	l.Command("Connect from the internet, as often as you like (needs bash):",
		enter(l.internet)+fmt.Sprintf(" bash -c 'head -1 </dev/tcp/%s/%s'", loadBalancerIP, servicePort))
	l.Command("Change the endpoints, save, and ask again:", "${EDITOR:-vi} "+filepath.Join(l.manifests(), webEndpointsFile))
	l.Command("Look at the API (needs grpcurl):", "grpcurl -plaintext -unix "+socket+" describe")
	l.Command("Ask it the same question:", "grpcurl -plaintext -unix "+socket+" portolan.introspection.v1.IntrospectionService/ListNodes")
	l.Command("Follow what node-a is told, change by change:",
		fmt.Sprintf(`grpcurl -plaintext -unix -d '{"subscribe":{"node":{"id":"node-a"}}}' -max-time 600 %s portolan.discovery.v1.DiscoveryService/StreamDeltas`, socket))
	l.Command("Read the logs:", "tail -f "+l.path("logs")+"/*")
	l.Say("")
	<-ctx.Done()
}

// enter returns the command that enters a namespace from outside.
func enter(n *netlab.Namespace) string {
	command := fmt.Sprintf("nsenter -t %d -n", n.Thread)
	if sandbox.HasUserNamespace() {
		command = fmt.Sprintf("nsenter -t %d -U -n --preserve-credentials", n.Thread)
	}
	return command
}
