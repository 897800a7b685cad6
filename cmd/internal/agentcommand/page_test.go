package agentcommand

import (
	"testing"

	"github.com/portolan-net/portolan/cmd/internal/commandpage/commandpagetest"
)

func TestThePageOfReferenceIsTheHelp(t *testing.T) {
	commandpagetest.Check(t, New(), "../../../docs/reference/commands")
}
