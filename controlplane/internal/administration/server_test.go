package administration

import (
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	adminv1 "github.com/portolan-net/portolan/api/portolan/admin/v1"
	"github.com/portolan-net/portolan/controlplane/internal/brake"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// held is a brake that is on.
type held struct{ *brake.Brake }

func (h held) Trust(string)                                   { h.Brake.Trust() }
func (h held) Held() brake.State                              { return h.State() }
func (h held) Release(keys []model.Key, _ string) []model.Key { return h.LetGo(keys) }

func gone(names ...string) []brake.Gone {
	var list []brake.Gone
	for _, name := range names {
		list = append(list, brake.Gone{Key: model.Key{Namespace: "demo", Name: name}})
	}
	return list
}

func TestReleaseReleasesNodesToo(t *testing.T) {
	b := brake.New(brake.DefaultLimits())
	b.Doubt(50, 0)
	server := New(Config{Brake: held{b}, Logger: hclog.NewNullLogger()})
	for _, want := range []bool{true, false} {
		response, err := server.ReleaseBrake(t.Context(), &adminv1.ReleaseBrakeRequest{})
		if err != nil || response.GetNodesReleased() != want || b.State().On() {
			t.Errorf("got %v, %v; want %v", response, err, want)
		}
	}
}

func TestReleaseLetsGoWhatIsNamedOrEverything(t *testing.T) {
	for name, test := range map[string]struct {
		services, released []string
		held               uint32
	}{
		"everything": {nil, []string{"demo/a", "demo/b", "demo/c"}, 0},
		"some":       {[]string{"demo/b"}, []string{"demo/b"}, 2},
		"others":     {[]string{"demo/x"}, nil, 3},
	} {
		t.Run(name, func(t *testing.T) {
			b := brake.New(brake.Limits{Share: 0.5, Min: 1})
			b.Remove(time.Unix(1, 0), gone("c", "a", "b"), 3)
			server := New(Config{Brake: held{b}, Logger: hclog.NewNullLogger()})
			response, err := server.ReleaseBrake(t.Context(), &adminv1.ReleaseBrakeRequest{Services: test.services})
			if err != nil || !slices.Equal(response.GetReleased(), test.released) || response.GetHeld() != test.held {
				t.Errorf("got %v, %v", response, err)
			}
		})
	}
}
