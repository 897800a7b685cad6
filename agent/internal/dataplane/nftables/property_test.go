package nftables

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/netlinkwire"
	"github.com/portolan-net/portolan/agent/internal/ruleset"
	"github.com/portolan-net/portolan/agent/internal/state"
)

// kernelElements reads every element of our tables back with the library.
func kernelElements(t *rapid.T, plane planes) map[string]string {
	found := map[string]string{}
	for _, p := range plane {
		l := p.loaded
		for _, spec := range l.family.sets {
			if spec.interval || spec.dynamic || spec.name == contentDigest {
				continue
			}
			members, err := p.conn.GetSetElements(l.sets[spec.name])
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range members {
				value := string(m.Val)
				if spec.verdict {
					value = verdictText(m.Val)
				}
				found[fmt.Sprintf("%s %s %x", l.family, spec.name, m.Key)] = fmt.Sprintf("%x", value)
			}
		}
	}
	return found
}

// verdictText finds the chain in the raw bytes of a verdict, or "drop".
func verdictText(raw []byte) string {
	text := strings.Trim(strings.ToValidUTF8(string(raw), "\x00"), "\x00")
	fields := strings.FieldsFunc(text, func(r rune) bool { return r < '!' || r > '~' })
	longest := dropVerdict
	for _, field := range fields {
		if strings.Contains(field, "-") || field == rejectChain {
			longest = field
		}
	}
	return longest
}

// wantElements says what the kernel must hold, from the table alone.
func wantElements(plane planes, table *ruleset.Table) map[string]string {
	want := map[string]string{}
	for _, p := range plane {
		l := p.loaded
		b := newBatch(l.family)
		for f := range table.Frontends() {
			if f.Addr.Is6() == l.family.is6 {
				b.all(f)
			}
		}
		for addr := range table.ClusterIPs() {
			if addr.Is6() == l.family.is6 {
				b.add(element{set: clusterIPs, key: string(addr.AsSlice())})
			}
		}
		for h := range table.Hairpins() {
			if h.Endpoint.Addr().Is6() == l.family.is6 {
				b.add(element{set: hairpin, key: hairpinKey(h)})
			}
		}
		for _, spec := range l.family.sets {
			for e := range b.added[spec.name].elements() {
				if !spec.interval {
					want[fmt.Sprintf("%s %s %x", l.family, spec.name, e.key)] = fmt.Sprintf("%x", e.value)
				}
			}
		}
	}
	return want
}

// TestTheKernelFollowsTheTable drives random Services through Apply, with and
// without Collect, and compares the kernel's content with the table's.
func TestTheKernelFollowsTheTable(t *testing.T) {
	plane := open(t)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		table := ruleset.NewTable()
		table.SetEnvironment(testEnvironment)
		if err := plane.Replace(ctx, testSettings, table); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			v := randomView(t)
			changes := update(table, v)
			spareBefore := len(plane[0].loaded.spare)
			if err := plane.Apply(ctx, &changes); err != nil {
				t.Fatalf("applying %v (%d spares before): %v", changes, spareBefore, err)
			}
			checkSpares(t, plane, table)
			nothingDiffers(t, plane, table)
			if rapid.Bool().Draw(t, "see") {
				if _, err := plane.Collect(ctx); err != nil {
					t.Fatal(err)
				}
				checkSpares(t, plane, table)
			}
			if rapid.Bool().Draw(t, "collect") {
				collectAll(t, plane)
				compare(t, plane, table)
			}
		}
		collectAll(t, plane)
		compare(t, plane, table)
		checkExtras(t, plane, table)
		if err := plane.Replace(ctx, testSettings, table); err != nil {
			t.Fatal(err)
		}
		compare(t, plane, table)
		nothingDiffers(t, plane, table)
	})
}

// nothingDiffers has the planes themselves compare the kernel with the table.
func nothingDiffers(t *rapid.T, plane planes, table *ruleset.Table) {
	for _, p := range plane {
		if found, err := p.Compare(context.Background(), testSettings, table); err != nil || len(found) > 0 {
			t.Fatalf("%s differs by %+v, error %v", p.family, found, err)
		}
	}
}

// checkExtras checks that there are no chains of single frontends but those that elements
// go to, in the kernel and in what the plane knows.
func checkExtras(t *rapid.T, plane planes, table *ruleset.Table) {
	for _, p := range plane {
		b := newBatch(p.family)
		for f := range table.Frontends() {
			if f.Addr.Is6() == p.family.is6 {
				b.all(f)
			}
		}
		chains, err := p.conn.ListChainsOfTableFamily(p.family.number)
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, c := range chains {
			there[c.Name] = c.Table.Name == tableName || there[c.Name]
			if _, used := b.chains[c.Name]; isOwn(c.Name) && !used {
				t.Fatalf("nothing goes to chain %s", c.Name)
			}
		}
		for name := range p.loaded.extras.there {
			if !there[name] {
				t.Fatalf("the plane takes chain %s for one that there is", name)
			}
		}
	}
}

// collectAll collects as often as it takes to remove what is there now.
func collectAll(t *rapid.T, plane planes) {
	for range 2 {
		if _, err := plane.Collect(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func compare(t *rapid.T, plane planes, table *ruleset.Table) {
	for _, p := range plane {
		p.looked = never // So that it looks.
	}
	if is, err := plane.Disturbed(context.Background()); is || err != nil {
		t.Fatalf("disturbed: %v, %v", is, err)
	}
	for _, p := range plane {
		checkDigest(t, p)
	}
	if diff := cmp.Diff(wantElements(plane, table), kernelElements(t, plane)); diff != "" {
		t.Fatalf("the kernel differs from the table (-want +kernel)\n%s", diff)
	}
}

// checkDigest checks that the digest in the kernel is that of what else is there.
func checkDigest(t *rapid.T, p *Plane) {
	digest := settingsDigest(testSettings)
	for _, spec := range p.family.sets {
		if spec.dynamic || spec.name == serviceCIDRs || spec.name == contentDigest {
			continue
		}
		held, err := dump(p.family, unix.NFT_MSG_GETSETELEM, unix.NFTA_SET_ELEM_LIST_TABLE, tableName,
			nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(spec.name)))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range held {
			for _, encoded := range netlinkwire.Attributes(part[unix.NFTA_SET_ELEM_LIST_ELEMENTS]) {
				digest ^= spec.parse(encoded).hash()
			}
		}
	}
	elements, err := p.conn.GetSetElements(p.loaded.sets[contentDigest])
	if err != nil || len(elements) != 1 || string(elements[0].Key) != digestElement(max(1, digest)).key {
		t.Fatalf("%s: digest %v, %v: want %x", p.family, elements, err, digest)
	}
}

// checkSpares checks that spare slots of frontends that still have backends lead
// to one of them.
func checkSpares(t *rapid.T, plane planes, table *ruleset.Table) {
	valid := map[string][]string{}
	for f := range table.Frontends() {
		for set, list := range map[string]ruleset.Backends{endpoints: f.Backends, localEndpoints: f.LocalBackends} {
			for _, b := range list.All() {
				key := set + frontendKey(f.Key)
				valid[key] = append(valid[key], backendValue(b))
			}
		}
	}
	for _, p := range plane {
		l := p.loaded
		for id, e := range l.spare {
			list := valid[id.set+id.key[:len(id.key)-4]]
			if len(list) > 0 && !slices.Contains(list, e.value) {
				t.Fatalf("spare slot %x of %s leads to an endpoint that is no longer valid", id.key, id.set)
			}
		}
	}
}

func randomView(t *rapid.T) ruleset.View {
	if rapid.IntRange(0, 5).Draw(t, "gone") == 0 {
		return ruleset.View{}
	}
	pool := []string{"10.244.1.1", "10.244.1.2", "10.244.1.3", "10.244.2.1", "10.244.2.2", "fd00:10:244:1::1", "fd00:10:244:1::2", "fd00:10:244:2::1"}
	v := view(rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 0, len(pool), rapid.ID[string]).Draw(t, "endpoints")...)
	v.Service.ExternalLocal = rapid.Bool().Draw(t, "external local")
	v.Service.InternalLocal = rapid.Bool().Draw(t, "internal local")
	v.Service.Affinity = rapid.SampledFrom([]time.Duration{0, time.Hour, 3 * time.Hour}).Draw(t, "affinity")
	v.Service.Scheduler = rapid.SampledFrom([]string{"", "", "rr", "wrr", "sh", "mh", "dh", "fo", "wlc"}).Draw(t, "scheduler")
	if rapid.Bool().Draw(t, "weighted") {
		weigh(v, func() uint32 { return uint32(rapid.IntRange(1, 5).Draw(t, "weight")) })
	}
	if rapid.Bool().Draw(t, "without ranges") {
		v.Service.SourceRanges = nil
	}
	if rapid.Bool().Draw(t, "single family") {
		v.Service.ClusterIPs = v.Service.ClusterIPs[:1]
	}
	return v
}

// weigh gives the endpoints of a view's sets weights.
func weigh(v ruleset.View, weight func() uint32) {
	for _, set := range v.Sets {
		for i, group := range set.Groups {
			var list []state.Endpoint
			for e := range group.Endpoints.All() {
				e.Weight = weight()
				list = append(list, e)
			}
			set.Groups[i].Endpoints = state.PackEndpoints(list...)
		}
	}
}

func TestAnotherAgentAdoptsTheSkeleton(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	table.SetEnvironment(testEnvironment)
	var many []string
	for i := range readyPicks + 3 {
		many = append(many, fmt.Sprintf("10.244.9.%d", i+1))
	}
	update(table, view(many...))
	ctx := context.Background()
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	nft(t, "add", "element", "ip", "portolan", "affinity", "{ 10.96.0.1 . tcp . 80 . 10.244.7.7 timeout 1h : 10.244.9.1 . 8080 }")
	handles := nft(t, "-a", "list", "chains")
	second := openPlanes(t)
	if err := second.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	if again := nft(t, "-a", "list", "chains"); again != handles {
		t.Error("the second agent made the chains anew although they were right")
	}
	if listing := nft(t, "list", "map", "ip", "portolan", "affinity"); !strings.Contains(listing, "10.244.7.7") {
		t.Errorf("the second agent forgot a client:\n%s", listing)
	}
	changed := testSettings
	changed.MasqueradeAll = true
	if err := second.Replace(ctx, changed, table); err != nil {
		t.Fatal(err)
	}
	if again := nft(t, "-a", "list", "chain", "ip", "portolan", "services"); strings.Contains(again, "ip saddr !=") {
		t.Errorf("the settings changed, but the skeleton did not:\n%s", again)
	}
	if err := second.each((*Plane).Close); err != nil {
		t.Error(err)
	}
}

// TestAnAgentThatFindsWhatItWantsCommitsNothing has one agent follow another. What the
// first left is kept only if it is, to the last element, what the second wants.
func TestAnAgentThatFindsWhatItWantsCommitsNothing(t *testing.T) {
	settings := func(change func(*dataplane.Settings)) dataplane.Settings {
		changed := testSettings
		change(&changed)
		return changed
	}
	for name, test := range map[string]struct {
		backends []string
		settings dataplane.Settings
		commands []string
		commits  uint32
	}{
		"the same":                  {},
		"another backend":           {backends: []string{"10.244.1.1", "10.244.2.3"}, commits: 1},
		"other Service CIDRs":       {settings: settings(func(s *dataplane.Settings) { s.ServiceCIDRs = s.ServiceCIDRs[:1] }), commits: 2},
		"another layout":            {settings: settings(func(s *dataplane.Settings) { s.MasqueradeAll = true }), commits: 2},
		"a deleted element":         {commands: []string{"delete element ip portolan cluster-ips { 10.96.0.1 }"}, commits: 1},
		"an element too many":       {commands: []string{"add element ip6 portolan cluster-ips { fd00:96::99 }"}, commits: 1},
		"an exchanged Service CIDR": {commands: []string{"flush set ip portolan service-cidrs", "add element ip portolan service-cidrs { 10.97.0.0/16 }"}, commits: 1},
		"a flushed chain":           {commands: []string{"flush chain ip portolan guard"}, commits: 1},
		"an exchanged rule":         {commands: []string{"flush chain ip portolan pick-1", "add rule ip portolan pick-1 drop"}, commits: 1},
		"a chain of somebody":       {commands: []string{"add chain ip portolan other"}, commits: 1},
		"a hooked chain":            {commands: []string{"add chain ip portolan pick-99 { type filter hook input priority 0; }"}, commits: 1},
		"a policy":                  {commands: []string{"add chain ip portolan filter-input { policy drop; }"}, commits: 1},
		"a table switched off":      {commands: []string{"add table ip portolan { flags dormant; }"}, commits: 1},
		"no anchor":                 {commands: []string{"delete table ip portolan-anchor"}, commits: 1},
		"the anchor emptied":        {commands: []string{"flush table ip portolan-anchor"}, commits: 1},
		"the anchor switched off":   {commands: []string{"add table ip portolan-anchor { flags dormant; }"}, commits: 1},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			first, table := open(t), ruleset.NewTable()
			table.SetEnvironment(testEnvironment)
			update(table, view("10.244.1.1", "10.244.2.2"))
			if err := first.Replace(ctx, testSettings, table); err != nil {
				t.Fatal(err)
			}
			before := nft(t, "-s", "list", "ruleset")
			for _, command := range test.commands {
				nft(t, strings.Fields(command)...)
			}
			wanted := ruleset.NewTable()
			wanted.SetEnvironment(testEnvironment)
			if test.backends == nil {
				test.backends = []string{"10.244.1.1", "10.244.2.2"}
			}
			update(wanted, view(test.backends...))
			if test.settings.MasqueradeBit == 0 {
				test.settings = testSettings
			}
			generation := func() uint32 {
				gen, err := first[0].conn.GetGen()
				if err != nil {
					t.Fatal(err)
				}
				return gen.ID
			}
			second, found := openPlanes(t), generation()
			defer func() {
				if err := second.each((*Plane).Close); err != nil {
					t.Error(err)
				}
			}()
			if err := second.Replace(ctx, test.settings, wanted); err != nil {
				t.Fatal(err)
			}
			if commits := generation() - found; commits != test.commits {
				t.Errorf("%d commits, want %d", commits, test.commits)
			}
			if len(test.commands) > 0 {
				if after := nft(t, "-s", "list", "ruleset"); sorted(after) != sorted(before) {
					t.Errorf("not undone:\n%s\nwas:\n%s", after, before)
				}
			}
			if disturbed(t, second) {
				t.Error("disturbed although nobody did anything since")
			}
			changes := update(wanted, view("10.244.2.2", "10.244.3.3", "10.244.4.4"))
			if err := second.Apply(ctx, &changes); err != nil {
				t.Fatal(err)
			}
			if listing := nft(t, "list", "map", "ip", "portolan", endpoints); !strings.Contains(listing, "10.244.4.4") {
				t.Errorf("the change after it is missing:\n%s", listing)
			}
		})
	}
}

func TestATamperedSkeletonIsMadeAnew(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	ctx := context.Background()
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	nft(t, "flush", "chain", "ip", "portolan", "guard")
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	if listing := nft(t, "list", "chain", "ip", "portolan", "guard"); !strings.Contains(listing, "no-endpoint-ips") {
		t.Errorf("the flushed chain was kept:\n%s", listing)
	}
}

func TestRemovedEndpointsAreForgotten(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	ctx := context.Background()
	update(table, view("10.244.1.1", "10.244.2.2"))
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	for client, backend := range map[string]string{"10.244.7.1": "10.244.1.1", "10.244.7.2": "10.244.2.2"} {
		nft(t, "add", "element", "ip", "portolan", "affinity", fmt.Sprintf("{ 10.96.0.1 . tcp . 80 . %s timeout 1h : %s . 8080 }", client, backend))
	}
	changes := update(table, view("10.244.1.1"))
	if err := plane.Apply(ctx, &changes); err != nil {
		t.Fatal(err)
	}
	listing := nft(t, "list", "map", "ip", "portolan", "affinity")
	if strings.Contains(listing, "10.244.7.2") || !strings.Contains(listing, "10.244.7.1") {
		t.Errorf("expected the client of the removed endpoint to be forgotten and the other not:\n%s", listing)
	}
	update(table, view("10.244.3.3"))
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	if listing := nft(t, "list", "map", "ip", "portolan", "affinity"); strings.Contains(listing, "10.244.7.1") {
		t.Errorf("a replacement without the endpoint left its client:\n%s", listing)
	}
}

func TestIntervalsMergeWhatTouches(t *testing.T) {
	prefix := netip.MustParsePrefix
	tests := map[string]struct {
		prefixes []netip.Prefix
		want     []string
	}{
		"apart":                {[]netip.Prefix{prefix("10.1.0.0/16"), prefix("10.3.0.0/16")}, []string{"10.1.0.0", "-10.2.0.0", "10.3.0.0", "-10.4.0.0"}},
		"touching":             {[]netip.Prefix{prefix("10.2.0.0/16"), prefix("10.1.0.0/16")}, []string{"10.1.0.0", "-10.3.0.0"}},
		"one within the other": {[]netip.Prefix{prefix("10.1.0.0/16"), prefix("10.1.2.0/24")}, []string{"10.1.0.0", "-10.2.0.0"}},
		"to the last address":  {[]netip.Prefix{prefix("255.0.0.0/8"), prefix("255.1.0.0/16")}, []string{"255.0.0.0"}},
		"of the other family":  {[]netip.Prefix{prefix("fd00::/112")}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range ipv4.cidrElements(test.prefixes) {
				addr, _ := netip.AddrFromSlice(e.Key)
				text := addr.String()
				if e.IntervalEnd {
					text = "-" + text
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestCleanupLeavesNothing(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	ctx := context.Background()
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	for _, p := range plane {
		if exists, err := p.Exists(ctx); err != nil || !exists {
			t.Fatalf("after Replace the table of %s exists: %v, %v", p.Family(), exists, err)
		}
	}
	if err := plane.Cleanup(ctx); err != nil {
		t.Fatal(err)
	}
	if listing := nft(t, "list", "tables"); listing != "" {
		t.Errorf("left over:\n%s", listing)
	}
}

func TestAReplacementFollowsAFailedChange(t *testing.T) {
	plane, table := open(t), ruleset.NewTable()
	ctx := context.Background()
	update(table, view("10.244.1.1"))
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	nft(t, "delete", "table", "ip", "portolan")
	changes := update(table, view("10.244.2.2"))
	if err := plane.Apply(ctx, &changes); err == nil {
		t.Fatal("a change of a table that is gone succeeded")
	}
	if err := plane.Apply(ctx, &ruleset.Changes{}); err == nil {
		t.Fatal("a change was accepted although the kernel's content is not known")
	}
	if err := plane.Replace(ctx, testSettings, table); err != nil {
		t.Fatal(err)
	}
	if listing := nft(t, "list", "map", "ip", "portolan", "endpoints"); !strings.Contains(listing, "10.244.2.2") || strings.Contains(listing, "10.244.1.1") {
		t.Errorf("after the replacement:\n%s", listing)
	}
}
