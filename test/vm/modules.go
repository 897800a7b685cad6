package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// modules adds the modules asked for, those that they depend on, and their order.
func (i *image) modules(c config) error {
	found, err := findModules(filepath.Join(c.kernel, "lib/modules"))
	if err != nil {
		return err
	}
	var order []string
	seen := map[string]bool{}
	for _, name := range c.modules {
		if order, err = inOrder(found, name, seen, order); err != nil {
			return err
		}
	}
	for _, name := range order {
		if err := i.add("/modules/"+name, found[name]); err != nil {
			return err
		}
	}
	return i.text("/modules/order", strings.Join(order, "\n")+"\n")
}

// findModules returns the files of all modules by name, dashes as underscores.
func findModules(directory string) (map[string]string, error) {
	found := map[string]string{}
	err := filepath.WalkDir(directory, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			found[underscored(name)] = path
		}
		return err
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("no modules in %s: expected uncompressed .ko files", directory)
	}
	return found, err
}

func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }

// inOrder appends a module after all that it depends on.
func inOrder(found map[string]string, name string, seen map[string]bool, order []string) ([]string, error) {
	if name = underscored(name); seen[name] {
		return order, nil
	}
	seen[name] = true
	path, ok := found[name]
	if !ok {
		return nil, fmt.Errorf("module %s: the kernel has none of that name", name)
	}
	needed, err := dependencies(path)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", name, err)
	}
	for _, n := range needed {
		if order, err = inOrder(found, n, seen, order); err != nil {
			return nil, err
		}
	}
	return append(order, name), nil
}

// dependencies reads what depmod does: the module's own word (include/linux/moduleparam.h).
func dependencies(path string) ([]string, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	section := file.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(field, []byte("depends=")); ok && len(list) > 0 {
			return strings.Split(string(list), ","), nil
		}
	}
	return nil, nil
}
