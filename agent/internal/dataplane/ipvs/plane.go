package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/agent/internal/sysctl"
)

const (
	// drainLimit is how long a destination that is no longer wanted may keep connections.
	drainLimit = time.Hour
	// lookEvery is how often the virtual servers are compared with what was put there: the
	// kernel tells nobody of changes.
	lookEvery = 30 * time.Second
)

// Plane is a data plane of one address family. While the settings ask for IPVS it balances
// by it, else it leaves all to the plane beside it. It belongs to one goroutine.
type Plane struct {
	logger hclog.Logger
	// nftables is the plane beside it.
	nftables dataplane.Dataplane
	is6      bool
	open     func() (kernel, error)
	// kernel is nil until IPVS is first asked for.
	kernel    kernel
	addresses addresses
	sysctls   func(strictARP bool) sysctl.Report
	now       func() time.Time

	settings dataplane.Settings
	// inForce is how IPVS worked last; nil if nftables did.
	inForce *dataplane.IPVS
	// active is set while IPVS balances, known while held is what the kernel has.
	active, known bool
	looked        time.Time
	// frontends are those that IPVS serves, by key; held are the virtual servers there are.
	frontends map[ruleset.Key]*ruleset.Frontend
	held      map[ruleset.Key]*virtual
	// drains says since when a destination drains.
	drains map[ruleset.Key]map[netip.AddrPort]time.Time
	// bound are the addresses on the dummy interface, uses how many frontends have each.
	bound addrSet
	uses  map[netip.Addr]int
	own   addrSet
	// usable has the schedulers that were tried.
	usable   map[string]bool
	warnings map[string]dataplane.Warning
}

var _ dataplane.Dataplane = (*Plane)(nil)

// New returns a plane that uses IPVS when it is asked to, with another beside it that does
// the rest, or everything when it is not. tree is where the kernel's settings are. It
// changes nothing.
func New(logger hclog.Logger, nftables dataplane.Dataplane, tree sysctl.Tree) (*Plane, error) {
	is6 := nftables.Family() == dataplane.IPv6
	addresses, err := openDummy(is6)
	if err != nil {
		return nil, err
	}
	p := newPlane(logger, nftables, addresses)
	p.open, p.sysctls, p.now = func() (kernel, error) { return openKernel() }, tree.ApplyIPVS, time.Now
	return p, nil
}

func newPlane(logger hclog.Logger, nftables dataplane.Dataplane, addresses addresses) *Plane {
	p := &Plane{
		logger: logger, nftables: nftables, is6: nftables.Family() == dataplane.IPv6, addresses: addresses,
		usable: map[string]bool{}, drains: map[ruleset.Key]map[netip.AddrPort]time.Time{},
	}
	p.forget()
	return p
}

// forget is for the moment before everything is read anew.
func (p *Plane) forget() {
	p.known, p.bound = false, addrSet{}
	p.frontends, p.held = map[ruleset.Key]*ruleset.Frontend{}, map[ruleset.Key]*virtual{}
	p.uses, p.warnings = map[netip.Addr]int{}, map[string]dataplane.Warning{}
}

// Family implements dataplane.Dataplane.
func (p *Plane) Family() dataplane.Family { return p.nftables.Family() }

// Supported implements dataplane.Dataplane.
func (p *Plane) Supported() bool { return p.nftables.Supported() }

// Exists implements dataplane.Dataplane.
func (p *Plane) Exists(ctx context.Context) (bool, error) { return p.nftables.Exists(ctx) }

// Warnings implements dataplane.Dataplane.
func (p *Plane) Warnings() []dataplane.Warning {
	list := slices.Collect(maps.Values(p.warnings))
	slices.SortFunc(list, func(a, b dataplane.Warning) int { return strings.Compare(a.Service, b.Service) })
	return append(list, p.nftables.Warnings()...)
}

// Adopt implements dataplane.Dataplane.
func (p *Plane) Adopt(ctx context.Context, settings dataplane.Settings, content dataplane.Content) bool {
	if settings.IPVS == nil {
		bound, err := p.addresses.bound()
		return err == nil && len(bound) == 0 && p.nftables.Adopt(ctx, settings, content)
	}
	if err := p.begin(settings); err != nil {
		return false
	}
	steps, err := p.compare(content)
	if err != nil || len(steps) > 0 || !p.bindings().none() || !p.nftables.Adopt(ctx, settings, beside{content, p.own}) {
		return false
	}
	p.active, p.known, p.inForce = true, true, settings.IPVS
	p.logger.Info("the virtual servers that an earlier agent left are as they should be and stay", "family", p.Family(), "servers", len(p.held))
	return true
}

// Replace implements dataplane.Dataplane. If IPVS cannot be used as asked for, the content is
// in force all the same, by what worked before.
func (p *Plane) Replace(ctx context.Context, settings dataplane.Settings, content dataplane.Content) error {
	if !p.Supported() {
		return p.nftables.Replace(ctx, settings, content)
	}
	var unusable error
	if settings.IPVS != nil {
		unusable = p.begin(settings)
	}
	if unusable != nil {
		if settings.IPVS = p.inForce; settings.IPVS != nil {
			p.settings = settings
		}
	}
	err := p.replace(ctx, settings, content)
	if err == nil {
		p.inForce = settings.IPVS
	}
	return errors.Join(unusable, err)
}

// replace does so after begin. What is added is there before nftables stops to translate,
// and what goes, goes after it has begun to.
func (p *Plane) replace(ctx context.Context, settings dataplane.Settings, content dataplane.Content) error {
	if settings.IPVS == nil {
		if err := p.nftables.Replace(ctx, settings, content); err != nil {
			return err
		}
		return p.retire()
	}
	steps, err := p.compare(content)
	if err != nil {
		return err
	}
	changed := p.bindings()
	more, less := split(steps)
	if err := errors.Join(p.run(more), p.bind(changed.bind)); err != nil {
		return err
	}
	if err := p.nftables.Replace(ctx, settings, beside{content, p.own}); err != nil {
		return err
	}
	if err := errors.Join(p.run(less), p.unbind(changed.unbind)); err != nil {
		return err
	}
	p.active, p.known, p.looked = true, true, p.now()
	if len(steps) > 0 {
		p.logger.Debug("replaced the virtual servers", "family", p.Family(), "servers", len(p.held), "steps", len(steps))
	}
	return nil
}

// compare reads what the kernel holds and returns the steps from there to the content.
func (p *Plane) compare(content dataplane.Content) ([]step, error) {
	p.forget()
	if err := p.read(); err != nil {
		return nil, err
	}
	for f := range content.Frontends() {
		if f.Addr.Is6() == p.is6 {
			p.take(nil, f)
		}
	}
	p.noteDrains()
	var steps []step
	for key, have := range p.held {
		if p.frontends[key] == nil {
			steps = append(steps, p.plan(have, nil)...)
		}
	}
	for key, f := range p.frontends {
		steps = append(steps, p.plan(p.held[key], p.want(f))...)
	}
	return inOrder(steps), nil
}

// begin opens IPVS, if need be, and takes the settings over.
func (p *Plane) begin(settings dataplane.Settings) error {
	if err := p.ensureOpen(); err != nil {
		return err
	}
	c := settings.IPVS
	if err := p.sysctls(c.StrictARP).Err(); err != nil {
		p.logger.Warn("cannot set the kernel up for IPVS: connections that need masquerading may fail", "error", err)
	}
	p.settings, p.own = settings, setOf(c.OwnAddrs)
	clear(p.usable) // A module may have been loaded since.
	if name := p.scheduler(""); !p.canUse(name) {
		return fmt.Errorf("ipvs.scheduler %q: the kernel has no such scheduler: expected one that is built in or a module (ip_vs_%s)", name, name)
	}
	return p.kernel.setTimeouts(timeouts{tcp: c.TCPTimeout, tcpFin: c.TCPFinTimeout, udp: c.UDPTimeout})
}

// read reads the virtual servers, but for those that are somebody else's, and the bound
// addresses.
func (p *Plane) read() error {
	held, bound, err := p.observe()
	if err == nil {
		p.held, p.bound = held, bound
	}
	return err
}

func (p *Plane) observe() (held map[ruleset.Key]*virtual, bound addrSet, err error) {
	held = map[ruleset.Key]*virtual{}
	servers, err := p.kernel.servers(p.is6)
	if err != nil {
		return held, bound, err
	}
	for _, s := range servers {
		if p.excluded(s.Addr) {
			continue
		}
		found, err := p.kernel.destinations(s.Key)
		if err != nil {
			return held, bound, err
		}
		v := &virtual{server: s, destinations: make(map[netip.AddrPort]int, len(found))}
		for d := range found {
			v.destinations[d.backend] = d.weight
		}
		held[s.Key] = v
	}
	bound, err = p.addresses.bound()
	return held, bound, err
}

func (p *Plane) excluded(addr netip.Addr) bool {
	return p.settings.IPVS != nil && slices.ContainsFunc(p.settings.IPVS.Exclude, func(c netip.Prefix) bool { return c.Contains(addr) })
}

// take notes that one frontend has come in place of another; either may be nil.
func (p *Plane) take(old, next *ruleset.Frontend) {
	if old != nil {
		delete(p.frontends, old.Key)
		delete(p.warnings, warningKey(old))
	}
	if isBound(old) {
		if p.uses[old.Addr]--; p.uses[old.Addr] == 0 {
			delete(p.uses, old.Addr)
		}
	}
	if next != nil {
		p.frontends[next.Key] = next
	}
	if isBound(next) {
		p.uses[next.Addr]++
	}
}

func warningKey(f *ruleset.Frontend) string { return f.Service + " " + f.Key.String() }

// want returns the virtual server of a frontend. One that asks for a scheduler that the
// kernel does not have gets the default.
func (p *Plane) want(f *ruleset.Frontend) *virtual {
	if f == nil {
		return nil
	}
	scheduler := p.scheduler(f.Scheduler)
	if !p.canUse(scheduler) {
		fallback := p.scheduler("")
		p.warnings[warningKey(f)] = dataplane.Warning{Service: f.Service, Reason: "SchedulerUnavailable", Message: fmt.Sprintf(
			"scheduler %q: the kernel has no such scheduler: %s is used", scheduler, fallback)}
		scheduler = fallback
	}
	return want(f, scheduler)
}

func (p *Plane) scheduler(asked string) string {
	switch {
	case asked != "":
		return asked
	case p.settings.IPVS.Scheduler != "":
		return p.settings.IPVS.Scheduler
	default:
		return defaultScheduler
	}
}

// canUse tells whether the kernel has a scheduler, by a virtual server that nobody sends
// to, in a network that is for documentation (RFC 5737, RFC 3849).
func (p *Plane) canUse(scheduler string) bool {
	if usable, tried := p.usable[scheduler]; tried {
		return usable
	}
	probe := server{Key: ruleset.Key{Addr: netip.MustParseAddr("198.51.100.0"), Protocol: state.TCP, Port: 20000}, scheduler: scheduler}
	if p.is6 {
		probe.Addr = netip.MustParseAddr("2001:db8::")
	}
	err := errors.Join(p.kernel.run([]step{{operation: addServer, server: probe}})...)
	if err == nil {
		err = errors.Join(p.kernel.run([]step{{operation: deleteServer, server: probe}})...)
	}
	p.usable[scheduler] = err == nil
	if err != nil {
		p.logger.Warn("cannot use a scheduler", "scheduler", scheduler, "error", err)
	}
	return err == nil
}

// plan returns the steps from what is held to what is wanted. A virtual server that no
// Service asks for any more goes at once: its address and port may be somebody else's now.
func (p *Plane) plan(have, want *virtual) []step {
	if have != nil && p.frontends[have.Key] == nil {
		return []step{{deleteServer, have.server, destination{}}}
	}
	return plan(have, want, p.busy)
}

// busy returns the destinations of a virtual server that have connections to lose. Those of
// other protocols than TCP are not waited for: nothing says when they have ended.
func (p *Plane) busy(key ruleset.Key) map[netip.AddrPort]bool {
	if key.Protocol != state.TCP {
		return nil
	}
	found, err := p.kernel.destinations(key)
	if err != nil {
		p.logger.Warn("cannot see whether a virtual server has connections", "server", key, "error", err)
	}
	busy := make(map[netip.AddrPort]bool, len(found))
	for d, c := range found {
		busy[d.backend] = c.any()
	}
	return busy
}

// split separates the steps after which more is served from those after which less is.
func split(steps []step) (more, less []step) {
	at := slices.IndexFunc(steps, func(s step) bool { return s.operation >= drainDestination })
	if at < 0 {
		return steps, nil
	}
	return steps[:at], steps[at:]
}

// run makes steps, and all of them whatever fails. What has failed is not known any more.
func (p *Plane) run(steps []step) error {
	var errs []error
	for i, err := range p.kernel.run(steps) {
		if err != nil {
			p.known = false
			errs = append(errs, p.named(steps[i], err))
			continue
		}
		p.note(steps[i])
	}
	const shown = 3
	if more := len(errs) - shown; more > 0 {
		errs = append(errs[:shown], fmt.Errorf("and %d more steps failed", more))
	}
	return errors.Join(errs...)
}

// named says whose step has failed.
func (p *Plane) named(s step, err error) error {
	if f := p.frontends[s.server.Key]; f != nil {
		return fmt.Errorf("%s: %w", f.Service, err)
	}
	return err
}

// note keeps held and drains equal to what the kernel has.
func (p *Plane) note(s step) {
	key, backend := s.server.Key, s.destination.backend
	if p.held[key] == nil && s.operation != addServer {
		return // It could not be added, and still is there: it is somebody else's.
	}
	switch s.operation {
	case addServer:
		p.held[key] = &virtual{server: s.server, destinations: map[netip.AddrPort]int{}}
	case changeServer:
		p.held[key].server = s.server
	case addDestination, changeDestination:
		p.held[key].destinations[backend] = s.destination.weight
		p.settle(key, backend)
	case drainDestination:
		p.held[key].destinations[backend] = 0
		p.drain(key, backend)
	case deleteDestination:
		delete(p.held[key].destinations, backend)
		p.settle(key, backend)
	case deleteServer:
		delete(p.held, key)
		delete(p.drains, key)
	}
}

func (p *Plane) settle(key ruleset.Key, backend netip.AddrPort) {
	if delete(p.drains[key], backend); len(p.drains[key]) == 0 {
		delete(p.drains, key)
	}
}

// Apply implements dataplane.Dataplane. nftables is first: it refuses what is to be refused
// before IPVS serves less, and before it serves what only some may use.
func (p *Plane) Apply(ctx context.Context, changes *ruleset.Changes) error {
	if !p.active || !p.Supported() {
		return p.nftables.Apply(ctx, changes)
	}
	if !p.known {
		return errors.New("the kernel's virtual servers are not known: expected a Replace first")
	}
	if rest := besideChanges(changes, p.own); rest.Touch(p.is6) {
		if err := p.nftables.Apply(ctx, rest); err != nil {
			p.known = false
			return err
		}
	}
	var steps []step
	for _, c := range changes.Frontends {
		if c.Key().Addr.Is6() != p.is6 {
			continue
		}
		p.take(c.Old, c.New)
		steps = append(steps, p.plan(p.held[c.Key()], p.want(c.New))...)
	}
	more, less := split(inOrder(steps))
	changed := p.bindings()
	err := errors.Join(p.run(more), p.bind(changed.bind), p.run(less), p.unbind(changed.unbind))
	p.known = p.known && err == nil
	return err
}

// Disturbed implements dataplane.Dataplane.
func (p *Plane) Disturbed(ctx context.Context) (bool, error) {
	disturbed, err := p.nftables.Disturbed(ctx)
	if disturbed || err != nil || !p.active || p.now().Sub(p.looked) < lookEvery {
		return disturbed, err
	}
	p.looked = p.now()
	servers, err := p.kernel.servers(p.is6)
	if err != nil {
		return false, err
	}
	ours := 0
	for _, s := range servers {
		if p.excluded(s.Addr) {
			continue
		}
		if ours++; p.held[s.Key] == nil || p.held[s.Key].server != s {
			return true, nil
		}
	}
	bound, err := p.addresses.bound()
	return ours != len(p.held) || !maps.Equal(bound, p.bound), err
}

// Cleanup implements dataplane.Dataplane.
func (p *Plane) Cleanup(ctx context.Context) error {
	err := p.nftables.Cleanup(ctx)
	bound, e := p.addresses.bound()
	if err = errors.Join(err, e); len(bound) == 0 {
		return err
	}
	p.forget()
	if err := errors.Join(err, p.ensureOpen(), p.read()); err != nil {
		return err
	}
	var errs []error
	var steps []step
	for _, v := range p.held {
		steps = append(steps, step{operation: deleteServer, server: v.server})
	}
	errs = append(errs, p.kernel.run(steps)...)
	for addr := range p.bound {
		errs = append(errs, p.addresses.unbind(addr))
	}
	p.forget()
	clear(p.drains)
	p.active = false
	return errors.Join(append(errs, p.addresses.remove())...)
}

func (p *Plane) ensureOpen() error {
	if p.kernel != nil {
		return nil
	}
	opened, err := p.open()
	if err == nil {
		p.kernel = opened
	}
	return err
}

// Close implements dataplane.Dataplane.
func (p *Plane) Close() error {
	if p.kernel != nil {
		p.kernel.close()
	}
	p.addresses.close()
	return p.nftables.Close()
}
