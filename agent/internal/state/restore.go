package state

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"google.golang.org/protobuf/encoding/protodelim"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

// ReadFile reads a checkpoint. A missing file is fs.ErrNotExist.
func ReadFile(path, node string) (*State, Checkpoint, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, Checkpoint{}, fmt.Errorf("reading the checkpoint: %w", err)
	}
	defer func() { _ = file.Close() }()
	restored, header, err := Decode(file, node)
	if err != nil {
		return nil, header, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return restored, header, nil
}

// Decode restores a state from a checkpoint file. It returns an error, and no state, if
// the file is damaged, of an unknown format, or of another node. It reads the file twice,
// to check it and to take it over, so that no more than one resource is in memory twice.
func Decode(file io.ReadSeeker, node string) (*State, Checkpoint, error) {
	reader := bufio.NewReaderSize(file, 1<<16)
	header, bodyAt, err := readHeader(reader)
	if err != nil {
		return nil, header, err
	}
	if err := header.check(reader, node); err != nil {
		return nil, header, err
	}
	if _, err := file.Seek(bodyAt, io.SeekStart); err != nil {
		return nil, header, err
	}
	reader.Reset(file)
	restored, err := header.restore(reader)
	if err == nil {
		header.Extra, err = io.ReadAll(reader)
	}
	if err != nil {
		return nil, header, err
	}
	return restored, header, nil
}

// readHeader reads the header line and returns where the body begins.
func readHeader(reader *bufio.Reader) (header Checkpoint, bodyAt int64, err error) {
	line, err := reader.ReadSlice('\n')
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull):
		return header, 0, errors.New("no header line: expected one line of JSON")
	case err != nil:
		return header, 0, err
	}
	if err := json.Unmarshal(bytes.TrimSpace(line), &header); err != nil {
		return header, 0, fmt.Errorf("header: %w", err)
	}
	return header, int64(len(line)), nil
}

// check tells what is wrong with a checkpoint, given its body.
func (c Checkpoint) check(body io.Reader, node string) error {
	sum := sha256.New()
	length, err := io.Copy(sum, body)
	switch {
	case err != nil:
		return err
	case c.Format != checkpointFormat:
		return fmt.Errorf("format %q: expected %q", c.Format, checkpointFormat)
	case c.Node != node:
		return fmt.Errorf("node %q: expected this node, %q", c.Node, node)
	case int64(c.Bytes) != length:
		return fmt.Errorf("%d bytes of resources: expected %d", length, c.Bytes)
	case c.SHA256 != hex.EncodeToString(sum.Sum(nil)):
		return errors.New("the SHA-256 of the resources differs from the header's: the file is damaged")
	}
	return nil
}

// restore makes a state of a checked body's resources.
func (c Checkpoint) restore(body *bufio.Reader) (*State, error) {
	restored := New()
	var broken error
	_, rejected := restored.Apply(c.decode(body, &broken), nil)
	if broken != nil {
		return nil, broken
	}
	if len(rejected) > 0 {
		return nil, fmt.Errorf("%s: %s", rejected[0].GetName().GetName(), rejected[0].GetReason())
	}
	return restored, nil
}

// decode yields the resources, up to one that is broken.
func (c Checkpoint) decode(body *bufio.Reader, broken *error) iter.Seq[*discoveryv1.Resource] {
	return func(yield func(*discoveryv1.Resource) bool) {
		for i := range c.Resources {
			r := new(discoveryv1.Resource)
			if err := (protodelim.UnmarshalOptions{MaxSize: int64(c.Bytes)}).UnmarshalFrom(body, r); err != nil {
				*broken = fmt.Errorf("resource %d of %d: %w", i, c.Resources, err)
				return
			}
			if !yield(r) {
				return
			}
		}
	}
}
