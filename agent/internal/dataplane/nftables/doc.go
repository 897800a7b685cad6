// Package nftables is the nftables data plane: a few large maps under a fixed
// skeleton of chains, in one table per address family.
//
// A Service change is map elements only; no rule, chain or set exists for one
// Service or endpoint. A new connection takes this way (K stands for
// "ip daddr . meta l4proto . th dport", the frontend):
//
//	prerouting, output -110   K @firewall-ips, source not in @firewall-allow: drop
//	prerouting, output -100   services:
//	                            daddr @cluster-ips, source no local pod: mark for masquerade
//	                            K @masquerade-ips: mark for masquerade
//	                            K @local-ips: local-traffic (see below)
//	                            K @affinity-ips: dnat to K . saddr map @affinity
//	                            K vmap @service-ips: goto pick-N
//	                          pick-N: dnat to K . numgen random mod N map @endpoints
//	forward 0                 TCP that conntrack finds invalid: drop
//	input, forward, output 0  guard:
//	                            affinity is checked against @affinity-endpoints and refreshed
//	                            K vmap @no-endpoint-ips: reject or drop
//	                            daddr @cluster-ips: reject (a port that no Service declares)
//	                            daddr @service-cidrs: drop (an address that no Service owns)
//	postrouting 100           marked, or hairpin: masquerade
//
// local-traffic serves external policy Local: connections of this node's pods and
// processes return to services and use every endpoint, others use
// @local-service-ips and @local-endpoints, and are remembered in @local-affinity.
//
// N is the number of backends; there is a pick-N for every number in use. Slots
// in @endpoints are dense. A commit never deletes a slot that the generation
// before it can still pick: a packet may look @service-ips up before the commit
// and @endpoints after it. When a frontend shrinks, its spare slots stay, pointing
// to backends that are still valid, until Collect.
//
// Only expressions that `nft list ruleset` of nftables 1.0.6 can print are used:
// no lookup result goes into a later key, and the slot is of type mark, because
// an integer in a concatenation makes it abort.
package nftables
