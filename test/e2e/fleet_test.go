package e2e_test

import (
	"strings"
	"testing"

	"github.com/portolan-net/portolan/test/e2e/internal/product"
)

// askAll asks two replicas, of which the node is connected to one, as one: in whatever order
// they are named, the answer is that of the one that knows.
func (w *world) askAll(t *testing.T) {
	a, b := w.replicas[0].admin, w.replicas[1].admin
	const away = "127.0.0.1:9"
	for _, servers := range []string{a + "," + b, b + "," + a} {
		for _, question := range []struct{ command, want string }{
			{"get nodes", "Synced"},
			{"top nodes --interval 10ms", "Synced"},
			{"diff", "as held"},
			{"explain e2e/web --node " + nodeName + " --kernel", "KERNEL\n  has it"},
			{"explain --from " + w.a.IP + " --to e2e/web:80 --kernel", "KERNEL\n  has it"},
			{"release", ""},
		} {
			arguments := append(strings.Fields(question.command), "--server", servers)
			if text, err := product.Run(t.Context(), "portolan", arguments...); err != nil || !strings.Contains(text, question.want) {
				t.Errorf("portolan %s: error %v, want %q:\n%s", strings.Join(arguments, " "), err, question.want, product.Everything(t.Context(), "portolan", arguments...))
			}
		}
		for _, command := range []string{"get nodes", "diff"} {
			arguments := append(strings.Fields(command), "--server", servers+","+away)
			text, err := product.Run(t.Context(), "portolan", arguments...)
			if said := product.Everything(t.Context(), "portolan", arguments...); err == nil || !strings.Contains(text, nodeName) || !strings.Contains(said, away) {
				t.Errorf("portolan %s: error %v; want the node, and who does not answer:\n%s", strings.Join(arguments, " "), err, said)
			}
		}
	}
}
