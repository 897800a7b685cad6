package output

import (
	"fmt"
	"slices"
	"strings"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
)

// State returns a state as a word: "Synced".
func State(state introspectionv1.SyncState) string {
	word := strings.ToLower(strings.TrimPrefix(state.String(), "SYNC_STATE_"))
	return strings.ToUpper(word[:1]) + word[1:]
}

// Ranks are the states from the best to the worst.
var Ranks = []introspectionv1.SyncState{
	introspectionv1.SyncState_SYNC_STATE_SYNCED, introspectionv1.SyncState_SYNC_STATE_PENDING, introspectionv1.SyncState_SYNC_STATE_CONNECTING,
	introspectionv1.SyncState_SYNC_STATE_REJECTED, introspectionv1.SyncState_SYNC_STATE_DIVERGED, introspectionv1.SyncState_SYNC_STATE_DISCONNECTED,
}

// Rank returns how bad a state is: the best is 0.
func Rank(state introspectionv1.SyncState) int { return slices.Index(Ranks, state) }

// Mode returns the data plane that a node is told to use, empty if it is told nothing.
func Mode(config *introspectionv1.NodeConfigStatus) string {
	if config.GetMode() == discoveryv1.ProxyMode_PROXY_MODE_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(config.GetMode().String(), "PROXY_MODE_"))
}

// Version returns the beginning of a configuration's version, as git shortens commits:
// enough to see whether two are the same.
func Version(config *introspectionv1.NodeConfigStatus) string {
	if config == nil {
		return ""
	}
	return fmt.Sprintf("%016x", config.GetVersion())[:8]
}

// Warning returns what a node could not do beside applying in one line, empty if
// there is nothing.
func Warning(node *introspectionv1.NodeStatus) string {
	warnings := node.GetWarnings()
	if len(warnings) == 0 {
		return ""
	}
	first := warnings[0]
	return fmt.Sprintf("%s: %s: %s", first.GetReason(), first.GetName().GetName(), first.GetMessage()) + more(len(warnings))
}

// more tells how many of a list are not shown where the first alone is.
func more(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", n-1)
}

// Trouble returns what is wrong with a node in one line, empty if nothing is.
func Trouble(node *introspectionv1.NodeStatus) string {
	if rejected := node.GetRejected(); node.GetLastError() == "" && len(rejected) > 0 {
		return fmt.Sprintf("%s: %s", rejected[0].GetName().GetName(), rejected[0].GetReason()) + more(len(rejected))
	}
	return node.GetLastError()
}
