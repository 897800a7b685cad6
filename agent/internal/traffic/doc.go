// Package traffic counts connections and bytes of Services from what the kernel's connection
// table says of them, whichever data plane translates.
//
// Every connection that is translated has an entry there whose original destination is a
// frontend. The table is read now and then, for what goes on; and the kernel tells of each
// entry that ends, with its last counts, so that none is too short to be seen.
package traffic
