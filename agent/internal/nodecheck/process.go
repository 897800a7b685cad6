package nodecheck

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/portolan-net/portolan/api/check"
)

// process is a running program.
type process struct {
	id    int
	name  string
	where place
}

// place is where a process is, as far as this one may see it.
type place uint8

const (
	unknown place = iota
	// here is in this network namespace.
	here
	elsewhere
)

func (p process) String() string { return fmt.Sprintf("%s (process %d)", p.name, p.id) }

type processes []process

// listProcesses returns those that this one may see.
func listProcesses(root string) (processes, error) {
	directories, err := filepath.Glob(filepath.Join(root, "proc/[0-9]*"))
	if err != nil {
		return nil, err
	}
	if len(directories) == 0 {
		return nil, errors.New("/proc has no processes")
	}
	ours, _ := os.Readlink(filepath.Join(root, "proc/self/ns/net"))
	var list processes
	for _, directory := range directories {
		id, err := strconv.Atoi(filepath.Base(directory))
		if err != nil {
			continue
		}
		list = append(list, process{id: id, name: programOf(directory), where: placeOf(directory, ours)})
	}
	slices.SortFunc(list, func(a, b process) int { return a.id - b.id })
	return list, nil
}

func placeOf(directory, ours string) place {
	switch namespace, err := os.Readlink(filepath.Join(directory, "ns/net")); {
	case err != nil:
		return unknown
	case namespace == ours:
		return here
	default:
		return elsewhere
	}
}

// programOf returns the name of a process's program. comm has 15 letters of it at most.
func programOf(directory string) string {
	if line, err := os.ReadFile(filepath.Join(directory, "cmdline")); err == nil && len(line) > 0 {
		first, _, _ := strings.Cut(string(line), "\x00")
		return filepath.Base(first)
	}
	name, _ := os.ReadFile(filepath.Join(directory, "comm"))
	return strings.TrimSpace(string(name))
}

// named returns the processes whose program has one of the names, without those that are
// known to be in another network namespace.
func (list processes) named(names ...string) processes {
	var found processes
	for _, p := range list {
		if slices.Contains(names, p.name) && p.where != elsewhere {
			found = append(found, p)
		}
	}
	return found
}

// String lists the processes.
func (list processes) String() string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return check.Few(texts)
}

// listener returns the inode of the TCP socket that listens on a port; empty if none does.
func listener(root string, port uint16) (inode string, err error) {
	const listens, columns = "0A", 10
	for _, name := range []string{"tcp", "tcp6"} {
		content, err := os.ReadFile(filepath.Join(root, "proc/net", name))
		if errors.Is(err, os.ErrNotExist) {
			continue // The node does not have the family.
		}
		if err != nil {
			return "", fmt.Errorf("reading the sockets: %w", err)
		}
		for line := range strings.Lines(string(content)) {
			fields := strings.Fields(line)
			if len(fields) < columns || fields[3] != listens {
				continue
			}
			_, text, _ := strings.Cut(fields[1], ":")
			if number, err := hex.DecodeString(text); err == nil && len(number) == 2 && uint16(number[0])<<8|uint16(number[1]) == port {
				return fields[9], nil
			}
		}
	}
	return "", nil
}

// owner returns the process that has a socket, if this one may see that.
func (list processes) owner(root, inode string) (process, bool) {
	for _, p := range list {
		files, _ := filepath.Glob(filepath.Join(root, "proc", strconv.Itoa(p.id), "fd/*"))
		for _, file := range files {
			if target, err := os.Readlink(file); err == nil && target == "socket:["+inode+"]" {
				return p, true
			}
		}
	}
	return process{}, false
}
