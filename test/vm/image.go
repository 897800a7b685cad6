package main

import (
	"context"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// image is an initramfs that is being written.
type image struct {
	to          *cpio.Writer
	directories map[string]bool
	files       map[string]bool
}

// makeImage writes the initramfs: init, the program, the files and the modules.
func makeImage(ctx context.Context, c config, name string) (err error) {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := file.Close(); err == nil {
			err = e
		}
	}()
	i := &image{to: cpio.NewWriter(file), directories: map[string]bool{"/": true}, files: map[string]bool{}}
	guest := filepath.Join(filepath.Dir(name), "init")
	if err := build(ctx, guest); err != nil {
		return err
	}
	program := "/bin/" + filepath.Base(c.program[0])
	if err := i.add("/init", guest); err != nil {
		return err
	}
	if err := i.add(program, c.program[0]); err != nil {
		return err
	}
	for to, from := range c.files {
		if err := i.addTree(to, from); err != nil {
			return err
		}
	}
	if err := i.text("/environment", strings.Join(c.environment, "\n")); err != nil {
		return err
	}
	if err := i.text("/command", strings.Join(append([]string{program}, c.program[1:]...), "\n")+"\n"); err != nil {
		return err
	}
	if err := i.modules(c); err != nil {
		return err
	}
	return i.to.Close()
}

// build builds the machine's init, which is beside this command's source.
func build(ctx context.Context, to string) error {
	command := exec.CommandContext(ctx, "go", "build", "-o", to, "github.com/portolan-net/portolan/test/vm/guest")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building init: %w\n%s", err, out)
	}
	return nil
}

func (i *image) directory(name string) error {
	if i.directories[name] {
		return nil
	}
	if err := i.directory(path.Dir(name)); err != nil {
		return err
	}
	i.directories[name] = true
	return i.to.WriteHeader(&cpio.Header{Name: strings.TrimPrefix(name, "/"), Mode: cpio.TypeDir | 0o755})
}

func (i *image) text(name, text string) error {
	return i.write(name, strings.NewReader(text), int64(len(text)))
}

func (i *image) write(name string, content io.Reader, size int64) error {
	if err := i.directory(path.Dir(name)); err != nil {
		return err
	}
	if err := i.to.WriteHeader(&cpio.Header{Name: strings.TrimPrefix(name, "/"), Mode: cpio.TypeReg | 0o755, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(i.to, content)
	return err
}

// add copies a file of the host.
func (i *image) add(name, from string) error {
	if i.files[name] {
		return nil
	}
	i.files[name] = true
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return i.write(name, file, info.Size())
}

// addTree copies a file or all that is in a directory.
func (i *image) addTree(name, from string) error {
	return filepath.WalkDir(from, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rest, err := filepath.Rel(from, at)
		if err != nil {
			return err
		}
		return i.addWithLibraries(path.Join(name, rest), at)
	})
}

// addWithLibraries also copies the libraries that the file is linked with, and its loader.
func (i *image) addWithLibraries(name, from string) error {
	if err := i.add(name, from); err != nil {
		return err
	}
	file, err := elf.Open(from)
	if err != nil {
		return nil //nolint:nilerr // It is no program.
	}
	defer func() { _ = file.Close() }()
	for _, p := range file.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		loader, err := io.ReadAll(p.Open())
		if err != nil {
			return fmt.Errorf("%s: reading its loader: %w", from, err)
		}
		at := strings.TrimRight(string(loader), "\x00")
		if err := i.add(at, at); err != nil {
			return err
		}
	}
	needed, err := file.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: reading its libraries: %w", from, err)
	}
	for _, library := range needed {
		at, err := findLibrary(library)
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		if err := i.addWithLibraries("/lib/"+library, at); err != nil {
			return err
		}
	}
	return nil
}

// libraryDirectories are Debian's and Ubuntu's.
var libraryDirectories = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}

func findLibrary(name string) (string, error) {
	for _, directory := range libraryDirectories {
		at := filepath.Join(directory, name)
		if _, err := os.Stat(at); err == nil {
			return at, nil
		}
	}
	return "", fmt.Errorf("library %s is in none of %s", name, strings.Join(libraryDirectories, ", "))
}
