// Package state holds what the control plane told this node, as compact structs
// with parsed addresses, and keeps it on disk.
//
// It is the only place where the agent reads discovery protobufs. A resource that
// cannot be used (a malformed address, an unknown protocol of a newer version, an
// address that no Service may have) is rejected by name, and the last good state
// of it stays: what the control plane says is not trusted to be sane.
//
// A State belongs to one goroutine. The values in it are immutable.
package state
