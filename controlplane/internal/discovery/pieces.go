package discovery

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/portolan-net/portolan/api/portolan/discovery/v1"
	"github.com/portolan-net/portolan/controlplane/internal/model"
)

// nameOverhead is about what a name or a reset costs in a piece besides its text.
const nameOverhead = 12

// pieces cuts a transaction into pieces and sends them.
type pieces struct {
	send  func(*frame) error
	limit int
	nonce uint64

	head   *discoveryv1.StreamDeltasResponse
	frames mem.BufferSlice
	bytes  int
	// sent counts over the whole transaction.
	resources, sent int
}

// write sends the whole transaction. A piece leaves as soon as it is full.
func (p *pieces) write(tx transaction) error {
	revision := tx.view.Snapshot().Revision
	p.begin(revision)
	p.head.Resets = tx.resets
	p.bytes += nameOverhead * len(tx.resets)
	for _, name := range tx.removed {
		if err := p.make(len(name.Name)+nameOverhead, revision); err != nil {
			return err
		}
		p.head.Removed = append(p.head.Removed, name.Proto())
	}
	for entry := range tx.entries {
		if err := p.make(len(entry.Frame), revision); err != nil {
			return err
		}
		p.add((*mem.SliceBuffer)(&entry.Frame), 1)
	}
	if tx.bundle != nil {
		for i := range tx.bundle.parts {
			part := &tx.bundle.parts[i]
			if err := p.make(len(part.fields), revision); err != nil {
				return err
			}
			p.add(&part.fields, part.resources)
		}
	}
	p.head.Commit = true
	p.head.Source = tx.source()
	p.head.Digest = tx.digest
	return p.flush()
}

func (p *pieces) begin(revision uint64) {
	p.nonce++
	p.head = &discoveryv1.StreamDeltasResponse{Nonce: p.nonce, Revision: revision}
	p.frames = make(mem.BufferSlice, 1, 4)
	p.bytes = 0
}

// make makes room for so many bytes.
func (p *pieces) make(bytes int, revision uint64) error {
	if p.bytes > 0 && p.bytes+bytes > p.limit {
		if err := p.flush(); err != nil {
			return err
		}
		p.begin(revision)
	}
	p.bytes += bytes
	return nil
}

// add appends encoded fields that are shared with other streams. They come by pointer,
// which makes their own slice header the buffer, so that they cost no allocation.
func (p *pieces) add(fields *mem.SliceBuffer, resources int) {
	p.frames = append(p.frames, fields)
	p.resources += resources
}

// flush sends the piece. The head goes first; it and the frames are one message.
func (p *pieces) flush() error {
	head, err := proto.Marshal(p.head)
	if err != nil {
		return fmt.Errorf("encoding the head of a piece: %w", err)
	}
	p.frames[0] = mem.SliceBuffer(head)
	p.sent += p.frames.Len()
	message := frame{parts: p.frames}
	p.head, p.frames = nil, nil // Streams are many, and mostly idle.
	return p.send(&message)
}

func sourceProto(v model.SourceVersion) *discoveryv1.SourceVersion {
	return &discoveryv1.SourceVersion{
		Source: v.Source, Services: v.Services, EndpointSlices: v.EndpointSlices, Nodes: v.Nodes, ServiceCidrs: v.ServiceCIDRs,
	}
}

// behind tells whether ours is an earlier point of the same source's history, in
// any of its parts.
func behind(ours model.SourceVersion, theirs *discoveryv1.SourceVersion) bool {
	return theirs.GetSource() != "" && theirs.GetSource() == ours.Source &&
		(theirs.GetServices() > ours.Services || theirs.GetEndpointSlices() > ours.EndpointSlices ||
			theirs.GetNodes() > ours.Nodes || theirs.GetServiceCidrs() > ours.ServiceCIDRs)
}
