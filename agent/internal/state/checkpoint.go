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
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
)

const (
	checkpointFormat = "portolan-checkpoint/2"
	// headerLen is that of the header line, which is padded: it is written last, since
	// it says what comes after it.
	headerLen = 1024
)

// Checkpoint is a state on disk: one line of JSON for people and for checks, then
// the resources, each with its length before it, then what goes with them.
type Checkpoint struct {
	Format string `json:"format"`
	// Schema is the digest of the resources' protobuf schema. Under another
	// schema the state is good to apply, but what it holds may lack fields that
	// the versions cover, so it is no base to resume a stream from.
	Schema    string    `json:"schema"`
	Node      string    `json:"node"`
	Written   time.Time `json:"written"`
	Revision  uint64    `json:"revision"`
	Source    Source    `json:"source"`
	Resources int       `json:"resources"`
	Bytes     int       `json:"bytes"`
	SHA256    string    `json:"sha256"`
	// Extra is what goes with the resources; the state does not know what it means.
	Extra []byte `json:"-"`
}

// Source is a point in the history of the source's objects.
type Source struct {
	Source         string `json:"source"`
	Services       uint64 `json:"services"`
	EndpointSlices uint64 `json:"endpointSlices"`
	Nodes          uint64 `json:"nodes"`
	ServiceCIDRs   uint64 `json:"serviceCIDRs"`
}

// SourceOf returns the Go form of a source version; nil gives the zero value.
func SourceOf(v *discoveryv1.SourceVersion) Source {
	return Source{v.GetSource(), v.GetServices(), v.GetEndpointSlices(), v.GetNodes(), v.GetServiceCidrs()}
}

// Proto returns the wire form.
func (s Source) Proto() *discoveryv1.SourceVersion {
	return &discoveryv1.SourceVersion{Source: s.Source, Services: s.Services, EndpointSlices: s.EndpointSlices,
		Nodes: s.Nodes, ServiceCidrs: s.ServiceCIDRs}
}

// Schema returns the digest of the protobuf schema that this agent was built with.
func Schema() string {
	descriptor, err := proto.MarshalOptions{Deterministic: true}.Marshal(
		protodesc.ToFileDescriptorProto(discoveryv1.File_portolan_discovery_v1_resources_proto))
	if err != nil {
		return "unknown"
	}
	sum := sha256.Sum256(descriptor)
	return hex.EncodeToString(sum[:8])
}

// Snapshot is a state as it was, to be written while the state goes on.
type Snapshot struct {
	header    Checkpoint
	resources *State
}

// Snapshot returns the state as it is. Format, Schema, Bytes, Resources and SHA256 of
// the header are filled in later.
func (s *State) Snapshot(header Checkpoint) *Snapshot {
	header.Format, header.Schema = checkpointFormat, Schema()
	// The members of the maps are immutable.
	return &Snapshot{header: header, resources: &State{
		services: maps.Clone(s.services), sets: maps.Clone(s.sets), locals: maps.Clone(s.locals), config: s.config, cluster: s.cluster,
	}}
}

// writeTo writes the snapshot and returns how many bytes it has.
func (s *Snapshot) writeTo(file io.WriteSeeker) (int, error) {
	if _, err := file.Write(paddedHeader(nil)); err != nil {
		return 0, err
	}
	sum := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<16)
	for r := range s.resources.Resources() {
		n, err := protodelim.MarshalTo(buffered, r)
		if err != nil {
			return 0, fmt.Errorf("encoding %s for the checkpoint: %w", r.GetName(), err)
		}
		s.header.Resources++
		s.header.Bytes += n
	}
	_, _ = buffered.Write(s.header.Extra)
	s.header.Bytes += len(s.header.Extra)
	if err := buffered.Flush(); err != nil {
		return 0, err
	}
	s.header.SHA256 = hex.EncodeToString(sum.Sum(nil))
	line, err := json.Marshal(s.header)
	if err != nil {
		return 0, fmt.Errorf("encoding the checkpoint's header: %w", err)
	}
	if len(line) >= headerLen {
		return 0, fmt.Errorf("the checkpoint's header has %d bytes: expected fewer than %d", len(line), headerLen)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	_, err = file.Write(paddedHeader(line))
	return headerLen + s.header.Bytes, err
}

func paddedHeader(line []byte) []byte {
	padded := bytes.Repeat([]byte{' '}, headerLen)
	copy(padded, line)
	padded[headerLen-1] = '\n'
	return padded
}

// WriteFile puts the snapshot in place of an older checkpoint so that at any moment,
// power loss included, the path holds the whole of either. It returns how many bytes it
// has.
func (s *Snapshot) WriteFile(path string) (size int, err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return 0, fmt.Errorf("writing the checkpoint: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	size, err = s.writeTo(temporary)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return 0, fmt.Errorf("writing the checkpoint %s: %w", path, err)
	}
	return size, syncDirectory(filepath.Dir(path))
}

// RemoveLeftovers removes the temporary files of WriteFiles that were killed. Call
// it when none is under way.
func RemoveLeftovers(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for unfinished checkpoints: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		suffix, ok := strings.CutPrefix(entry.Name(), filepath.Base(path)+".")
		if _, err := strconv.ParseUint(suffix, 10, 64); ok && err == nil {
			errs = append(errs, os.Remove(filepath.Join(filepath.Dir(path), entry.Name())))
		}
	}
	return errors.Join(errs...)
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing the checkpoint's directory: %w", err)
	}
	if err := errors.Join(directory.Sync(), directory.Close()); err != nil {
		return fmt.Errorf("syncing the checkpoint's directory: %w", err)
	}
	return nil
}
