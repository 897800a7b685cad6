// Package ipvs is the data plane on IPVS, the kernel's own layer-4 load balancer, for
// schedulers that nftables does not have. It is the only user of github.com/moby/ipvs.
//
//	frontends ── want ──▶ servers ── plan ──▶ steps ── kernel ──▶ IPVS
//	                │                                  addresses ──▶ portolan-ipvs
//	                └── nftables, beside it: masquerade, source ranges, refusals
//
// Each frontend is a virtual server, each backend a destination that it translates to
// (NAT). The kernel hands IPVS only packets that are for this node, so the addresses of
// Services are bound to a dummy interface. What is not balancing is done by package
// nftables, which leaves out its own translation.
//
// IPVS knows no transactions: a change is a sequence of steps, ordered so that each one
// leaves something that works. What is there is read back before everything is made
// anew, so only what differs is touched. A destination that is no longer wanted and still
// has connections keeps them: it gets weight 0, and goes when they have ended or the limit
// has passed.
package ipvs
