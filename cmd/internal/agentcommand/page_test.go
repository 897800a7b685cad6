package agentcommand

import (
	"testing"

	"github.com/portolan-net/portolan/cmd/internal/commandpage/commandpagetest"
	"github.com/portolan-net/portolan/cmd/internal/shown/showntest"
)

func TestThePageOfReferenceIsTheHelp(t *testing.T) {
	commandpagetest.Check(t, New(), "../../../docs/reference/commands")
}

// TestPagesShowWhatItTakes: each command line that a page shows.
func TestPagesShowWhatItTakes(t *testing.T) {
	showntest.Pages(t, "../../..", "portolan-agent", 8, New)
}
