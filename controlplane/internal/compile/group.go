package compile

import (
	"k8s.io/apimachinery/pkg/labels"

	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// Group is nodes that have settings of their own.
type Group struct {
	Name     string
	Selector labels.Selector
	// Settings has no groups.
	Settings Settings
}

// Group returns the first group that selects a Node, or nil.
func (s *Settings) Group(node *model.Node) *Group {
	for i := range s.Groups {
		if s.Groups[i].Selector.Matches(labels.Set(node.Labels)) {
			return &s.Groups[i]
		}
	}
	return nil
}

// For returns the settings of a Node.
func (s *Settings) For(node *model.Node) Settings {
	if group := s.Group(node); group != nil {
		return group.Settings
	}
	return *s
}
