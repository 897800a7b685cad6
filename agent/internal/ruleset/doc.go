// Package ruleset says what the node's kernel must do, in terms that every data
// plane shares: which frontends exist and which backends each has. It is pure.
//
//	state ── Table.Update ──▶ frontends, cluster IPs, hairpins
//	                          and the Changes since the last Update
//
// A frontend is one address, protocol and port. Where several Services claim one,
// resource.Claim decides, so a claim that loses comes into force by itself when
// the winner goes away.
//
// The backends of a frontend are in slot order. Slots are dense and stable: an
// endpoint that stays keeps its slot unless it has to fill a hole, so a change of
// one endpoint is a change of one or two slots.
package ruleset
