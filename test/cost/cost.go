// Package cost has what benchmarks measure with: processor time, and new connections.
package cost

import (
	"cmp"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor time that the process has used, the kernel's share included: on a
// busy machine wall time says little.
func CPU() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// Quartile returns a quartile of what was measured; 1 is the lower one.
func Quartile[T cmp.Ordered](list []T, q int) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[(len(sorted)-1)*q/4]
}

// Connect makes n TCP connections, two at a time, each of which must succeed within patience, and
// resets them. address returns where the i-th one goes.
func Connect(t testing.TB, n int, patience time.Duration, address func(i int) string) {
	t.Helper()
	const clients = 2
	var running sync.WaitGroup
	for c := range clients {
		running.Go(func() {
			for i := c; i < n; i += clients {
				conn, err := net.DialTimeout("tcp", address(i), patience)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		})
	}
	running.Wait()
}
