package resource

// Schedulers are the names of the schedulers of the kernel's IPVS
// (net/netfilter/ipvs/ip_vs_*.c), its default first.
var Schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"}

// NeedsConnections tells whether a scheduler of the kernel's IPVS chooses by how many
// connections an endpoint has, which a data plane without schedulers does not know. It
// approximates those; the empty name is its own default.
func NeedsConnections(scheduler string) bool {
	switch scheduler {
	case "", "rr", "wrr", "sh", "mh", "dh", "fo":
		return false
	default: // lc, wlc, sed, nq, lblc, lblcr, ovf, and what is not known.
		return true
	}
}
