// Package footprint measures the programs themselves: the memory that they take, what
// they send, and how an agent comes back. Its benchmarks run the binaries in a network
// namespace of their own.
package footprint
