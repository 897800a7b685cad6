package conntrack

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestWhatTheKernelInterruptsIsRepeated is S120.
func TestWhatTheKernelInterruptsIsRepeated(t *testing.T) {
	failure := errors.New("no permission")
	type answer struct {
		entries uint
		err     error
	}
	for name, test := range map[string]struct {
		answers []answer
		total   uint
		err     error
	}{
		"at once":                          {[]answer{{3, nil}}, 3, nil},
		"a dump that was interrupted":      {[]answer{{2, netlink.ErrDumpInterrupted}, {1, nil}}, 3, nil},
		"a system call that was":           {[]answer{{0, unix.EINTR}, {1, unix.EINTR}, {4, nil}}, 5, nil},
		"interrupted again and again":      {[]answer{{1, unix.EINTR}, {1, unix.EINTR}, {1, unix.EINTR}, {1, unix.EINTR}, {1, unix.EINTR}}, 5, unix.EINTR},
		"another failure is not repeated":  {[]answer{{1, failure}}, 1, failure},
		"not even after an interruption":   {[]answer{{1, unix.EINTR}, {1, failure}}, 2, failure},
		"something else than interruption": {[]answer{{0, unix.EPERM}}, 0, unix.EPERM},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answers := test.answers
				total, err := again(context.Background(), func() (uint, error) {
					if len(answers) == 0 {
						t.Fatal("asked too often")
					}
					a := answers[0]
					answers = answers[1:]
					return a.entries, a.err
				})
				if total != test.total || !errors.Is(err, test.err) || len(answers) > 0 {
					t.Errorf("%d entries, error %v, %d answers not asked for; want %d, %v", total, err, len(answers), test.total, test.err)
				}
			})
		})
	}
}
