package nftables

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

// recorder has the library encode what there is little of: tables, chains, rules and
// sets. The library can only send what it has encoded, so it is given a connection that
// notes it instead.
type recorder struct {
	conn     *nftables.Conn
	recorded []byte
	err      error
}

func newRecorder() (*recorder, error) {
	r := &recorder{}
	var err error
	r.conn, err = nftables.New(nftables.WithTestDial(r.record))
	return r, err
}

// record notes the messages between those that frame a transaction, without the
// answers that the library wants to them.
func (r *recorder) record(messages []netlink.Message) ([]netlink.Message, error) {
	if len(messages) < 2 {
		return nil, nil // It asks for answers.
	}
	for _, m := range messages[1 : len(messages)-1] {
		m.Header.Flags &^= netlink.Echo | netlink.Acknowledge
		encoded, err := m.MarshalBinary()
		if err != nil {
			r.err = err
			continue
		}
		r.recorded = append(r.recorded, encoded...)
	}
	return nil, nil
}

// take returns what has been recorded since the last call.
func (r *recorder) take() ([]byte, error) {
	err := r.conn.Flush()
	if err == nil {
		err = r.err
	}
	recorded := r.recorded
	r.recorded, r.err = nil, nil
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return recorded, nil
}

// transaction gathers messages for the kernel in their order.
type transaction struct {
	recorder *recorder
	buffers  [][]byte
	// counted are by how many elements sets grow once it is committed: until then a look
	// at the kernel must find what was there before.
	counted []growth
	// seen is the generation that was looked at to make a replacement; zero if nothing was.
	seen uint32
}

type growth struct {
	loaded *loaded
	set    string
	by     int
}

func (t *transaction) count(l *loaded, set string, by int) {
	if by != 0 {
		t.counted = append(t.counted, growth{l, set, by})
	}
}

// committed takes note that the kernel holds the transaction.
func (t *transaction) committed() {
	for _, g := range t.counted {
		g.loaded.counts[g.set] += g.by
	}
}

// library returns the connection by which the library encodes.
func (t *transaction) library() *nftables.Conn { return t.recorder.conn }

// elements adds the messages of a list, after what the library has encoded so far.
func (t *transaction) elements(list *elementList) error {
	if err := t.settle(); err != nil {
		return err
	}
	t.buffers = append(t.buffers, list.messages()...)
	return nil
}

func (t *transaction) settle() error {
	recorded, err := t.recorder.take()
	if len(recorded) > 0 {
		t.buffers = append(t.buffers, recorded)
	}
	return err
}
