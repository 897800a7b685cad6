package introspection

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/portolan-net/portolan/controlplane/internal/near"
)

// notFound says that there is no such thing, and what there is instead.
func notFound(what, name string, names map[string]struct{}) error {
	hint := near.Hint(name, slices.Collect(maps.Keys(names)))
	return status.Error(codes.NotFound, fmt.Sprintf("no %s %q", what, name)+cmp.Or(hint, fmt.Sprintf(" among %d", len(names))))
}
