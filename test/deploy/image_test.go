package deploy

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// copyTo makes a repository of one commit, out of what is to be committed of this one.
func copyTo(t *testing.T, dir string) {
	t.Helper()
	const root = "../.."
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // Deleted, and not committed yet.
		}
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "x"}} {
		command := exec.Command("git", args...)
		command.Dir = dir
		command.Env = append(os.Environ(), "GIT_AUTHOR_DATE=1234567890 +0000", "GIT_COMMITTER_DATE=1234567890 +0000")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

// TestTheImageIsReproducible, wherever it is built, and has the three programs, which need
// nothing else.
func TestTheImageIsReproducible(t *testing.T) {
	dir := t.TempDir()
	var images [2][]byte
	for i, place := range []string{"here", "elsewhere/and/deeper"} {
		copyTo(t, filepath.Join(dir, place))
		path := filepath.Join(dir, "image.tar")
		command := exec.Command("go", "run", "./deploy/image", "-o", path)
		command.Dir = filepath.Join(dir, place)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		images[i] = content
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("built in two places, it differs")
	}
	files := unpack(t, images[0])
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 || len(manifest[0].Layers) != 1 {
		t.Fatalf("manifest %v, %v", manifest, err)
	}
	var config struct {
		Config struct {
			User       string
			Entrypoint []string
		}
	}
	if err := json.Unmarshal(files[manifest[0].Config], &config); err != nil || config.Config.User != "65532:65532" || len(config.Config.Entrypoint) != 1 {
		t.Errorf("configuration %+v, %v", config, err)
	}
	programs := unpack(t, files[manifest[0].Layers[0]])
	var names []string
	for name, content := range programs {
		names = append(names, name)
		program, err := elf.NewFile(bytes.NewReader(content))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
			t.Errorf("%s needs %v, %v: expected a static program", name, libraries, err)
		}
	}
	slices.Sort(names)
	if want := []string{"portolan", "portolan-agent", "portolan-controlplane"}; !slices.Equal(names, want) {
		t.Errorf("the image has %v, want %v", names, want)
	}
}

func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
