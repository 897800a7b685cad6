package output

import (
	"fmt"
	"strings"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

// State returns a state as a word: "Synced".
func State(state introspectionv1.SyncState) string {
	word := strings.ToLower(strings.TrimPrefix(state.String(), "SYNC_STATE_"))
	return strings.ToUpper(word[:1]) + word[1:]
}

// Trouble returns what is wrong with a node in one line, empty if nothing is.
func Trouble(node *introspectionv1.NodeStatus) string {
	if rejected := node.GetRejected(); node.GetLastError() == "" && len(rejected) > 0 {
		line := fmt.Sprintf("%s: %s", rejected[0].GetName().GetName(), rejected[0].GetReason())
		if more := len(rejected) - 1; more > 0 {
			line += fmt.Sprintf(" (and %d more)", more)
		}
		return line
	}
	return node.GetLastError()
}
