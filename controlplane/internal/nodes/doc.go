// Package nodes remembers how far each node has come: what it was sent, what it
// said of it, and since when.
//
// A stream reports through its Connection. A newer Connection of the same node
// takes the node's entry over; what the older one still reports is ignored.
// Entries of nodes that are gone are kept for a while, because what such a node
// applied last is still in its kernel.
package nodes
