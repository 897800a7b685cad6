package nftables

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/test/cost"
)

// peer holds rules of the shape that kube-proxy 1.36 gives Services without affinity
// (pkg/proxy/nftables/proxier.go, writeServiceToEndpointDNAT): the map service-ips leads
// to a chain of each Service port, whose one rule chooses from an anonymous map of
// endpoints. We write them through our own socket, which is kinder to that shape than
// kube-proxy is: it runs nft, which lists what there is before each change.
type peer struct {
	family   *family
	table    *nftables.Table
	recorder *recorder
	socket   *socket
	frontend *nftables.Set
	flips    int
}

func openPeer(b *testing.B) *peer {
	b.Helper()
	p := &peer{family: families[dataplane.IPv4], table: &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "kube-proxy-shape"}}
	var err error
	if p.recorder, err = newRecorder(); err == nil {
		p.socket, err = openSocket()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		p.remove(b)
		if err := p.socket.close(); err != nil {
			b.Error(err)
		}
	})
	return p
}

// remove removes the table, if it is there.
func (p *peer) remove(b *testing.B) {
	p.recorder.conn.AddTable(p.table)
	p.recorder.conn.DelTable(p.table)
	p.commit(b)
}

// commit sends what has been queued and returns what it cost.
func (p *peer) commit(b *testing.B) time.Duration {
	b.Helper()
	begun := cost.CPU()
	recorded, err := p.recorder.take()
	if err == nil {
		err = p.socket.commit(0, [][]byte{recorded})
	}
	if err != nil {
		b.Fatal(err)
	}
	return cost.CPU() - begun
}

// skeleton is what of kube-proxy's fixed chains a packet to a ClusterIP meets.
func (p *peer) skeleton(b *testing.B) {
	conn, f := p.recorder.conn, p.family
	conn.AddTable(p.table)
	for _, spec := range f.sets {
		var set *nftables.Set
		switch spec.name {
		case serviceIPs, noEndpointIPs, firewallIPs:
			spec.verdict, spec.value = true, nil
			set = spec.set(p.table)
		case clusterIPs, hairpin:
			set = spec.set(p.table)
		default:
			continue
		}
		set.Comment = ""
		if err := conn.AddSet(set, nil); err != nil {
			b.Fatal(err)
		}
		if spec.name == serviceIPs {
			p.frontend = set
		}
	}
	bit := uint32(1) << testSettings.MasqueradeBit
	notPod, _ := f.notFromPod(testSettings)
	chains := []chainSpec{
		{name: "services", rules: [][]expr.Any{
			rule([]expr.Any{f.daddr(firstRegister), in(clusterIPs)}, notPod, orMark(bit)),
			rule(f.frontend(), one(vmap(serviceIPs)))}},
		{name: "firewall-check", rules: [][]expr.Any{rule(f.frontend(), one(vmap(firewallIPs)))}},
		{name: "service-endpoints-check", rules: [][]expr.Any{rule(f.frontend(), one(vmap(noEndpointIPs)))}},
		{name: "cluster-ips-check", rules: [][]expr.Any{{f.daddr(firstRegister), in(clusterIPs), verdict(expr.VerdictDrop, "")}}},
		{name: "masquerading", rules: f.postroutingRules(bit)},
	}
	jump := func(chain string) []expr.Any { return one(verdict(expr.VerdictJump, chain)) }
	ifNew := func(chain string) []expr.Any { return rule(isNew(), jump(chain)) }
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority, rules ...[]expr.Any) {
		chains = append(chains, chainSpec{name: name, base: true, kind: kind, hook: hook, priority: priority, rules: rules})
	}
	const nat, filter = nftables.ChainTypeNAT, nftables.ChainTypeFilter
	base("filter-prerouting-pre-dnat", filter, nftables.ChainHookPrerouting, -110, ifNew("firewall-check"))
	base("filter-output-pre-dnat", filter, nftables.ChainHookOutput, -110, ifNew("firewall-check"))
	base("nat-prerouting", nat, nftables.ChainHookPrerouting, -100, jump("services"))
	base("nat-output", nat, nftables.ChainHookOutput, -100, jump("services"))
	base("filter-input", filter, nftables.ChainHookInput, 0, ifNew("service-endpoints-check"))
	base("filter-forward", filter, nftables.ChainHookForward, 0, ifNew("service-endpoints-check"), ifNew("cluster-ips-check"))
	base("filter-output", filter, nftables.ChainHookOutput, 0, ifNew("service-endpoints-check"), ifNew("cluster-ips-check"))
	base("nat-postrouting", nat, nftables.ChainHookPostrouting, 100, jump("masquerading"))
	for _, spec := range chains {
		addChain(conn, p.table, spec)
	}
	for _, spec := range chains {
		addRules(conn, p.table, spec)
	}
}

// service queues a Service's chain anew, as kube-proxy does for a change too.
func (p *peer) service(b *testing.B, chain string, backends []netip.AddrPort) {
	conn := p.recorder.conn
	c := conn.AddChain(&nftables.Chain{Name: chain, Table: p.table})
	conn.FlushChain(c)
	set := &nftables.Set{Table: p.table, Anonymous: true, Constant: true, IsMap: true,
		KeyType: nftables.TypeMark, DataType: concat([]nftables.SetDatatype{nftables.TypeIPAddr, nftables.TypeInetService})}
	elements := make([]nftables.SetElement, len(backends))
	for i, backend := range backends {
		elements[i] = nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(i)), Val: []byte(backendValue(backend))}
	}
	if err := conn.AddSet(set, elements); err != nil {
		b.Fatal(err)
	}
	conn.AddRule(&nftables.Rule{Table: p.table, Chain: c, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Numgen{Register: firstRegister, Modulus: uint32(len(backends)), Type: unix.NFT_NG_RANDOM},
		&expr.Lookup{SourceRegister: firstRegister, DestRegister: firstRegister, IsDestRegSet: true, SetName: set.Name, SetID: set.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: p.family.nfproto(), RegAddrMin: firstRegister, RegProtoMin: firstRegister + 1},
	}})
}

// atOnce is how many chains go into one transaction: more than that many bytes cannot be
// sent from a user namespace. Only the last one makes the chains reachable, so that the
// kernel checks them once, as it would if all were one.
const atOnce = 4000

// load makes all Services of a fleet, and returns what that cost.
func (p *peer) load(b *testing.B, f *fleet) time.Duration {
	b.Helper()
	begun := cost.CPU()
	p.skeleton(b)
	var frontends, addresses []nftables.SetElement
	for frontend := range f.table.Frontends() {
		chain := peerChain(frontend.Addr)
		p.service(b, chain, frontend.Backends.List())
		frontends = append(frontends, nftables.SetElement{Key: []byte(frontendKey(frontend.Key)),
			VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}})
		if len(frontends)%atOnce == 0 {
			p.commit(b)
		}
	}
	for addr := range f.table.ClusterIPs() {
		addresses = append(addresses, nftables.SetElement{Key: addr.AsSlice()})
	}
	if err := p.recorder.conn.SetAddElements(p.frontend, frontends); err != nil {
		b.Fatal(err)
	}
	set := &nftables.Set{Table: p.table, Name: clusterIPs, KeyType: nftables.TypeIPAddr}
	if err := p.recorder.conn.SetAddElements(set, addresses); err != nil {
		b.Fatal(err)
	}
	p.commit(b)
	return cost.CPU() - begun
}

func peerChain(addr netip.Addr) string { return fmt.Sprintf("service-%s/tcp/p80", addr) }

// flip replaces one endpoint of one Service, and returns what that cost.
func (p *peer) flip(b *testing.B, f *fleet) time.Duration {
	b.Helper()
	begun := cost.CPU()
	p.flips++
	v := f.view(fmt.Sprintf("bench/%d", f.size/2), p.flips)
	var backends []netip.AddrPort
	for e := range v.Sets[0].Groups[0].Endpoints.All() {
		backends = append(backends, netip.AddrPortFrom(e.Addr, v.Sets[0].Groups[0].Ports[0].Port))
	}
	p.service(b, peerChain(v.Service.ClusterIPs[0]), backends)
	p.commit(b)
	return cost.CPU() - begun
}

// BenchmarkPeer is what the whole load and one change cost in kube-proxy's shape, the
// change beside ours.
func BenchmarkPeer(b *testing.B) {
	for _, size := range []int{1000, 5000, 10_000} {
		flips := 200_000 / size // The peer's take the longer the more Services there are.
		b.Run(fmt.Sprintf("services=%d", size), func(b *testing.B) {
			f := newFleet(size)
			var loads, changes, oursLoads, oursChanges time.Duration
			for b.Loop() {
				p := openPeer(b)
				loads += p.load(b, f)
				for range flips {
					changes += p.flip(b, f)
				}
				p.remove(b)
				plane := openBench(b)
				load, change := f.cost(b, plane, flips)
				oursLoads, oursChanges = oursLoads+load, oursChanges+change
			}
			n := float64(b.N)
			report := func(total time.Duration, per int, unit string) {
				b.ReportMetric(float64(total.Nanoseconds())/1000/n/float64(per), unit)
			}
			report(loads, 1000, "peer-cpu-ms/load")
			report(oursLoads, 1000, "ours-cpu-ms/load")
			report(changes, flips, "peer-cpu-us/change")
			report(oursChanges, flips, "ours-cpu-us/change")
		})
	}
}
