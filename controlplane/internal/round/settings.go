package round

import (
	"reflect"
	"sync"

	"github.com/portolan-net/portolan/controlplane/internal/compile"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// settings are what the nodes are configured with, and what they are to be. They are
// safe for concurrent use.
type settings struct {
	mu     sync.Mutex
	wanted compile.Settings
	// changed has a value while a round is due for it.
	changed chan struct{}
}

func newSettings(initial compile.Settings) *settings {
	return &settings{wanted: initial, changed: make(chan struct{}, 1)}
}

func (s *settings) get() compile.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted
}

// Configure has the next round, which is due at once, compile with other settings.
func (d *Driver) Configure(settings compile.Settings) {
	d.settings.mu.Lock()
	d.settings.wanted = settings
	d.settings.mu.Unlock()
	select {
	case d.settings.changed <- struct{}{}:
	default:
	}
}

// Current returns the settings that nodes have, or are about to have.
func (d *Driver) Current() compile.Settings { return d.settings.get() }

// configure takes changed settings over, and marks what depends on them.
func (d *Driver) configure() {
	wanted := d.settings.get()
	if reflect.DeepEqual(wanted, d.Settings) {
		return
	}
	before := d.Settings
	d.Settings = wanted
	if d.pending.Nodes == nil {
		d.pending.Nodes = map[string]struct{}{}
	}
	for _, node := range d.Cluster.Nodes() {
		d.pending.Nodes[node.Name] = struct{}{}
	}
	if before.IgnoreExternalIPs == wanted.IgnoreExternalIPs {
		return
	}
	if d.pending.Services == nil {
		d.pending.Services = map[model.Key]struct{}{}
	}
	for _, key := range d.Cluster.Services() {
		d.pending.Services[key] = struct{}{}
	}
	for key := range d.served {
		d.pending.Services[key] = struct{}{}
	}
}
