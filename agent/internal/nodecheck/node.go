package nodecheck

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portolan-net/portolan/agent/internal/dataplane"
	"github.com/portolan-net/portolan/agent/internal/nodeaddr"
	"github.com/portolan-net/portolan/agent/internal/state"
	"github.com/portolan-net/portolan/api/check"
)

func (n *node) nodeChecks() []check.Check {
	return []check.Check{
		looksAt(check.Always, "node-capabilities", "this process may program the kernel", n.capabilities),
		looksAt(check.Always, "node-addresses", "the node has addresses of each family", n.addresses),
		looksAt(check.Always, "node-memory", "the node has memory for an agent", n.memory),
		looksAt(check.Always, "node-clock", "the node's clock is about right", func() check.Finding { return judgeClock(n.Now()) }),
		looksAt(check.Always, "node-clock-synchronized", "something keeps the node's clock right", synchronized),
		looksAt(check.Always, "node-checkpoint-directory", "the checkpoint can be written", n.checkpointDirectory),
		looksAt(check.After, "node-checkpoint", "the checkpoint can be read", n.checkpoint),
	}
}

func (n *node) capabilities() check.Finding {
	status, err := n.read("proc/self/status")
	if err != nil {
		return check.Skipped("this process's capabilities cannot be read: %v", err)
	}
	return judgeCapabilities(status)
}

func judgeCapabilities(status string) check.Finding {
	_, rest, _ := strings.Cut(status, "CapEff:")
	text, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	effective, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
	switch {
	case err != nil:
		return check.Skipped("CapEff of this process is %q: expected a hexadecimal number", text)
	case effective&(1<<unix.CAP_NET_ADMIN) == 0:
		return check.Warned("this process has no CAP_NET_ADMIN: expected it, as the agent needs it: some checks are skipped").
			Do("Run this as root, and give the agent's container the capability NET_ADMIN.")
	default:
		return check.Passed("this process has CAP_NET_ADMIN")
	}
}

func (n *node) addresses() check.Finding {
	list, err := nodeaddr.List(dataplane.ServiceInterface)
	if err != nil {
		return check.Failed("%s", check.OneLine(err))
	}
	return judgeAddresses(list, n.hasIPv6())
}

func judgeAddresses(list []netip.Addr, hasIPv6 bool) check.Finding {
	var v4, v6 []string
	for _, addr := range list {
		switch {
		case addr.Is4():
			v4 = append(v4, addr.String())
		case !addr.IsLinkLocalUnicast():
			v6 = append(v6, addr.String())
		}
	}
	switch {
	case len(v4)+len(v6) == 0:
		return check.Failed("the node has no address but loopback ones: expected one at least, for node ports").Do("Configure the node's network.")
	case hasIPv6 && len(v4) > 0 && len(v6) == 0:
		return check.Passed("the node has IPv4 addresses, %s, and of IPv6 link-local ones at most: node ports answer on IPv4", check.Few(v4))
	case len(v4) == 0:
		return check.Passed("the node has IPv6 addresses alone, %s: node ports answer on IPv6", check.Few(v6))
	default:
		return check.Passed("the node has the addresses %s", check.Few(append(v4, v6...)))
	}
}

func (n *node) memory() check.Finding {
	text, err := n.read("proc/meminfo")
	if err != nil {
		return check.Skipped("the node's memory cannot be read: %v", err)
	}
	return judgeMemory(text)
}

func judgeMemory(meminfo string) check.Finding {
	const kibi, least, enough = 1 << 10, 32, 128 // MiB
	_, rest, _ := strings.Cut(meminfo, "MemAvailable:")
	var available int
	if _, err := fmt.Sscan(rest, &available); err != nil {
		return check.Skipped("/proc/meminfo has no MemAvailable")
	}
	available /= kibi
	switch {
	case available < least:
		return check.Failed("%d MiB of memory are available: expected %d MiB at least", available, enough).Do("Free memory on the node.")
	case available < enough:
		return check.Warned("%d MiB of memory are available: expected %d MiB, for the agent and the kernel's maps of a large cluster", available, enough).Do("Free memory on the node.")
	default:
		return check.Passed("%d MiB of memory are available", available)
	}
}

// written is when this was written: no clock is before that.
var written = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

func judgeClock(now time.Time) check.Finding {
	const years = 50
	if now.Before(written) || now.After(written.AddDate(years, 0, 0)) {
		return check.Failed("the node's clock is at %s: expected a time after %d: no certificate and no token is valid then", now.UTC().Format(time.RFC3339), written.Year()).
			Do("Set the clock, and run a service that keeps it right (chrony, systemd-timesyncd).")
	}
	return check.Passed("the node's clock is at %s", now.UTC().Format(time.RFC3339))
}

func synchronized() check.Finding {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return check.Skipped("the kernel does not tell whether its clock is synchronized: %v", err)
	}
	if state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return check.Warned("the kernel says that its clock is not synchronized: expected a service that does so: tokens and certificates are not valid when it is off by more than 30 s").
			Do("Run chrony, systemd-timesyncd or the like. A virtual machine that follows its host's clock needs none.")
	}
	return check.Passed("the kernel says that its clock is synchronized")
}

// checkpointDirectory writes a file and removes it.
func (n *node) checkpointDirectory() check.Finding {
	if n.CheckpointPath == "" {
		return check.Warned("no checkpoint is kept: a node that boots without a control plane has no rules").Do("Give the agent a --checkpoint-file.")
	}
	directory := filepath.Dir(n.CheckpointPath)
	switch _, err := os.Stat(directory); {
	case errors.Is(err, fs.ErrNotExist) && n.Before:
		return check.Passed("%s is not there yet: the agent makes it", directory)
	case errors.Is(err, fs.ErrNotExist):
		return check.Failed("%s is not there: expected the directory of the checkpoint: a node that boots without a control plane has no rules", directory).Do("Mount it into the agent's pod, or set --checkpoint-file.")
	}
	file, err := os.CreateTemp(directory, ".check-")
	if err != nil {
		return check.Failed("%s cannot be written to: %s", directory, check.OneLine(err)).Do("Run this as the agent's user; make the directory writable; look for a full or read-only file system.")
	}
	_ = file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return check.Warned("%s was left behind: %v", file.Name(), err)
	}
	return n.space(directory)
}

func (n *node) space(directory string) check.Finding {
	const mebi, enough = 1 << 20, 64
	var fs unix.Statfs_t
	if err := unix.Statfs(directory, &fs); err != nil {
		return check.Skipped("the space in %s cannot be read: %v", directory, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize) / mebi; free < enough {
		return check.Warned("%s has %d MiB of space: expected %d MiB", directory, free, enough).Do("Free space on that file system.")
	}
	return check.Passed("%s can be written to", directory)
}

func (n *node) checkpoint() check.Finding {
	if n.CheckpointPath == "" {
		return check.Skipped("no checkpoint is kept")
	}
	_, header, err := state.ReadFile(n.CheckpointPath, n.Node)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return check.Warned("%s is not there: expected that an agent has written it", n.CheckpointPath).Do("See whether the agent is Synced: portolan get nodes.")
	case err != nil:
		return check.Warned("the checkpoint cannot be used: %s: an agent begins without it", check.OneLine(err)).Do("See that --node is the name of this Node; delete the file if it is another's.")
	case header.Schema != state.Schema():
		return check.Passed("%s can be read; it was written by another version, so that all is sent anew", n.CheckpointPath)
	default:
		return check.Passed("%s can be read", n.CheckpointPath)
	}
}
