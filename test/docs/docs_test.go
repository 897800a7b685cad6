package docs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portolan-net/portolan/test/netns"
)

// directory names the environment variable that says where the programs are.
const directory = "PORTOLAN_DOCS_BIN"

// mark is in the pages that are run.
const mark = "<!-- run by test/docs -->"

func TestMain(m *testing.M) { netns.WithPrograms(m, build) }

// build builds the programs, and grpcurl, into a directory.
func build(dir string) error {
	for where, what := range map[string]string{"../..": "./cmd/...", ".": "github.com/fullstorydev/grpcurl/cmd/grpcurl"} {
		command := exec.Command("go", "build", "-o", dir+string(filepath.Separator), what)
		command.Dir = where
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", what, err, output)
		}
	}
	return os.Setenv(directory, dir)
}

// TestPages runs the pages one after the other, since they share a kernel.
func TestPages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, page := range append(pages, more...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), mark) {
			ran++
			t.Run(filepath.Base(page), func(t *testing.T) { run(t, blocksOf(string(text))) })
		}
	}
	const expected = 2
	if ran < expected {
		t.Errorf("%d pages were run, expected at least %d", ran, expected)
	}
}

// block is a fenced block of a page.
type block struct {
	kind, path, text string
	line             int
}

var fence = regexp.MustCompile("(?ms)^```([a-z]+)(?: ([^\n]+))?\n(.*?)^```$")

func blocksOf(page string) []block {
	var list []block
	for _, at := range fence.FindAllStringSubmatchIndex(page, -1) {
		b := block{kind: page[at[2]:at[3]], text: page[at[6]:at[7]], line: strings.Count(page[:at[0]], "\n") + 1}
		if at[4] >= 0 {
			b.path = page[at[4]:at[5]]
		}
		list = append(list, b)
	}
	return list
}

func run(t *testing.T, blocks []block) {
	t.Setenv("PATH", strings.Join([]string{os.Getenv(directory), os.Getenv("PATH"), "/usr/sbin", "/sbin"}, string(os.PathListSeparator)))
	s := start(t)
	printed := ""
	for _, b := range blocks {
		switch b.kind {
		case "yaml":
			s.write(b)
		case "sh":
			printed = s.run(b)
		case "text":
			expect(t, b, printed)
		}
	}
}

// shell is a bash that is told one block after the other.
type shell struct {
	t       *testing.T
	dir     string
	command *exec.Cmd
	in      io.Writer
	out     *bufio.Scanner
}

// patience is how long a page may take.
const patience = time.Minute

func start(t *testing.T) *shell {
	t.Helper()
	s := &shell{t: t, dir: t.TempDir(), command: exec.Command("bash")}
	s.command.Dir = s.dir
	// What it starts is in its process group, and ends with it.
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := s.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.command.Stdout, s.command.Stderr = written, written
	s.in, s.out = in, bufio.NewScanner(out)
	if err := errors.Join(s.command.Start(), written.Close(), out.SetReadDeadline(time.Now().Add(patience))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-s.command.Process.Pid, syscall.SIGKILL)
		_ = s.command.Wait()
		_ = out.Close()
	})
	return s
}

func (s *shell) write(b block) {
	path := filepath.Join(s.dir, b.path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(b.text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a block and returns what it prints. A line that fails is an error, as far as
// the shell sees it.
func (s *shell) run(b block) string {
	const end = "the end of a block:"
	script := "trap 'failed=1' ERR\nfailed=0\n" + b.text + "\ntrap - ERR\necho \"" + end + "$failed\"\n"
	if _, err := s.in.Write([]byte(script)); err != nil {
		s.t.Fatalf("line %d: %v", b.line, err)
	}
	var printed bytes.Buffer
	for s.out.Scan() {
		line := s.out.Text()
		if failed, isEnd := strings.CutPrefix(line, end); isEnd {
			if failed != "0" {
				s.t.Errorf("line %d: a command failed:\n%s", b.line, printed.String())
			}
			return printed.String()
		}
		printed.WriteString(line + "\n")
	}
	s.t.Fatalf("line %d: the shell has ended, or %s were not enough: %v\n%s", b.line, patience, s.out.Err(), printed.String())
	return ""
}

// expect looks for the lines of a block among those that were printed, in their order.
// White space counts as one blank.
func expect(t *testing.T, b block, printed string) {
	t.Helper()
	lines := strings.Split(printed, "\n")
	for wanted := range strings.Lines(b.text) {
		pattern := pattern(wanted)
		at := -1
		for i, line := range lines {
			if pattern.MatchString(strings.Join(strings.Fields(line), " ")) {
				at = i
				break
			}
		}
		if at < 0 {
			t.Errorf("line %d: %q is not in (or not after what is before it):\n%s", b.line, strings.TrimSpace(wanted), printed)
			return
		}
		lines = lines[at+1:]
	}
}

// pattern returns what matches a line; "..." stands for anything.
func pattern(line string) *regexp.Regexp {
	var parts []string
	for _, part := range strings.Split(strings.Join(strings.Fields(line), " "), "...") {
		parts = append(parts, regexp.QuoteMeta(strings.TrimSpace(part)))
	}
	return regexp.MustCompile(strings.Join(parts, ".*"))
}
