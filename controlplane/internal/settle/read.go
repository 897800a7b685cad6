package settle

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxFile bounds what is read of one file.
const maxFile = 256 << 20

// Read reads a file, and what it is, unless that would wait or not end.
func Read(path string) ([]byte, fs.FileInfo, error) {
	// To open a named pipe would otherwise wait for somebody who writes.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, nil, fmt.Errorf("expected a regular file of at most %d MiB", maxFile>>20)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	return data, info, err
}
