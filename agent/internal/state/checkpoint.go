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
	checkpointFormat = "portolan-checkpoint/1"
	// maxCheckpoint bounds what a damaged file can make the agent read.
	maxCheckpoint = 1 << 30
)

// Checkpoint is a state on disk: one line of JSON for people and for checks, then
// the resources, each with its length before it.
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

// Encode returns the state as a checkpoint file's content. Format, Schema, Bytes,
// Resources and SHA256 of the header are filled in.
func (s *State) Encode(header Checkpoint) ([]byte, error) {
	var body bytes.Buffer
	for r := range s.Resources() {
		if _, err := protodelim.MarshalTo(&body, r); err != nil {
			return nil, fmt.Errorf("encoding %s for the checkpoint: %w", r.GetName(), err)
		}
		header.Resources++
	}
	sum := sha256.Sum256(body.Bytes())
	header.Format, header.Schema = checkpointFormat, Schema()
	header.Bytes, header.SHA256 = body.Len(), hex.EncodeToString(sum[:])
	line, err := json.Marshal(header)
	if err != nil {
		return nil, fmt.Errorf("encoding the checkpoint's header: %w", err)
	}
	return append(append(line, '\n'), body.Bytes()...), nil
}

// Decode restores a state from a checkpoint file's content. It returns an error,
// and no state, if the content is damaged, of an unknown format, or of another
// node.
func Decode(content []byte, node string) (*State, Checkpoint, error) {
	var header Checkpoint
	line, body, found := bytes.Cut(content, []byte{'\n'})
	if !found {
		return nil, header, errors.New("no header line: expected one line of JSON")
	}
	if err := json.Unmarshal(line, &header); err != nil {
		return nil, header, fmt.Errorf("header: %w", err)
	}
	switch sum := sha256.Sum256(body); {
	case header.Format != checkpointFormat:
		return nil, header, fmt.Errorf("format %q: expected %q", header.Format, checkpointFormat)
	case header.Node != node:
		return nil, header, fmt.Errorf("node %q: expected this node, %q", header.Node, node)
	case header.Bytes != len(body):
		return nil, header, fmt.Errorf("%d bytes of resources: expected %d", len(body), header.Bytes)
	case header.SHA256 != hex.EncodeToString(sum[:]):
		return nil, header, errors.New("the SHA-256 of the resources differs from the header's: the file is damaged")
	}
	resources, err := decodeResources(body, header.Resources)
	if err != nil {
		return nil, header, err
	}
	restored := New()
	if _, rejected := restored.Apply(resources, nil); len(rejected) > 0 {
		return nil, header, fmt.Errorf("%s: %s", rejected[0].GetName().GetName(), rejected[0].GetReason())
	}
	return restored, header, nil
}

func decodeResources(body []byte, count int) ([]*discoveryv1.Resource, error) {
	var resources []*discoveryv1.Resource
	reader := bufio.NewReader(bytes.NewReader(body))
	for {
		r := new(discoveryv1.Resource)
		err := protodelim.UnmarshalOptions{MaxSize: maxCheckpoint}.UnmarshalFrom(reader, r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("resource %d: %w", len(resources), err)
		}
		resources = append(resources, r)
	}
	if len(resources) != count {
		return nil, fmt.Errorf("%d resources: expected %d", len(resources), count)
	}
	return resources, nil
}

// ReadFile reads a checkpoint. A missing file is fs.ErrNotExist.
func ReadFile(path, node string) (*State, Checkpoint, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, Checkpoint{}, fmt.Errorf("reading the checkpoint: %w", err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxCheckpoint))
	if err != nil {
		return nil, Checkpoint{}, fmt.Errorf("reading the checkpoint %s: %w", path, err)
	}
	restored, header, err := Decode(content, node)
	if err != nil {
		return nil, header, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return restored, header, nil
}

// WriteFile puts a checkpoint's content in place of an older one so that at any
// moment, power loss included, the path holds the whole of either.
func WriteFile(path string, content []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing the checkpoint: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the checkpoint %s: %w", path, err)
	}
	return syncDirectory(filepath.Dir(path))
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
