package ask

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	introspectionv1 "github.com/portolan-net/portolan/api/portolan/introspection/v1"
	"github.com/portolan-net/portolan/cmd/portolan/internal/output"
)

// Answer is what one replica answered, or why it did not.
type Answer[T any] struct {
	Value T
	Err   error
}

// With asks the control planes of --server until one answers, for what any of them knows.
func With[T any](ctx context.Context, f *Flags, question func(context.Context, *Client) (T, error)) (T, error) {
	var none T
	clients, done, err := f.ConnectAll()
	if err != nil {
		return none, err
	}
	defer done()
	var failures []error
	for _, client := range clients {
		answer, err := put(ctx, f, client, question)
		switch status.Code(err) {
		case codes.OK:
			return answer, nil
		case codes.Unavailable, codes.DeadlineExceeded:
			failures = append(failures, client.Explain(err))
		default:
			return none, client.Explain(err)
		}
	}
	return none, inOneLine(failures)
}

// All asks all control planes of --server at the same time, for what each knows a part of. Their
// answers are in the order of the flag.
func All[T any](ctx context.Context, f *Flags, question func(context.Context, *Client) (T, error)) ([]Answer[T], error) {
	clients, done, err := f.ConnectAll()
	if err != nil {
		return nil, err
	}
	defer done()
	answers := make([]Answer[T], len(clients))
	var asked sync.WaitGroup
	for i, client := range clients {
		asked.Go(func() {
			value, err := put(ctx, f, client, question)
			answers[i] = Answer[T]{Value: value, Err: client.Explain(err)}
		})
	}
	asked.Wait()
	return answers, nil
}

// put puts a question within the time of --timeout.
func put[T any](ctx context.Context, f *Flags, client *Client, question func(context.Context, *Client) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	return question(ctx, client)
}

// Missing returns why some did not answer, nil if all did.
func Missing[T any](answers []Answer[T]) error {
	var failures []error
	for _, a := range answers {
		if a.Err != nil {
			failures = append(failures, a.Err)
		}
	}
	return inOneLine(failures)
}

// inOneLine joins errors, of which equal ones are said once.
func inOneLine(list []error) error {
	var texts []string
	for _, err := range list {
		if !slices.Contains(texts, err.Error()) {
			texts = append(texts, err.Error())
		}
	}
	switch len(texts) {
	case 0:
		return nil
	case 1:
		return list[0]
	default:
		return errors.New(strings.Join(texts, "; "))
	}
}

// Nodes returns the nodes as all replicas of --server know them together: each as the one sees
// it that it is connected to. If some replicas do not answer, missing says why, and the nodes
// that are connected to them are as others see them; if none does, it is an error.
func Nodes(ctx context.Context, f *Flags) (all *introspectionv1.ListNodesResponse, missing, err error) {
	answers, err := All(ctx, f, func(ctx context.Context, client *Client) (*introspectionv1.ListNodesResponse, error) {
		return client.ListNodes(ctx, &introspectionv1.ListNodesRequest{})
	})
	if err != nil {
		return nil, nil, err
	}
	missing = Missing(answers)
	best := Best{}
	for _, a := range answers {
		if a.Err != nil {
			continue
		}
		if all == nil {
			all = &introspectionv1.ListNodesResponse{Revision: a.Value.GetRevision()}
		}
		best.Add(a.Value)
	}
	if all == nil {
		return nil, nil, missing
	}
	all.Nodes = best.List()
	return all, missing, nil
}

// Best has each node as that replica sees it that knows most of it, by name.
type Best map[string]*introspectionv1.NodeStatus

// Add adds what one replica says.
func (b Best) Add(seen *introspectionv1.ListNodesResponse) {
	for _, node := range seen.GetNodes() {
		// An older control plane does not say it.
		node.CurrentRevision = cmp.Or(node.GetCurrentRevision(), seen.GetRevision())
		if KnowsMore(node, b[node.GetNode()]) {
			b[node.GetNode()] = node
		}
	}
}

// List returns the nodes, ordered by name.
func (b Best) List() []*introspectionv1.NodeStatus {
	var list []*introspectionv1.NodeStatus
	for _, name := range slices.Sorted(maps.Keys(b)) {
		list = append(list, b[name])
	}
	return list
}

// KnowsMore tells whether what one replica says of a node is worth more than what another does,
// since a node is connected to one of them. Either may be nil.
func KnowsMore(a, b *introspectionv1.NodeStatus) bool {
	if a == nil || b == nil {
		return a != nil
	}
	if c := cmp.Compare(output.Rank(a.GetState()), output.Rank(b.GetState())); c != 0 {
		return c < 0
	}
	return a.GetAckedAt().AsTime().After(b.GetAckedAt().AsTime())
}

// CompareNode asks for the comparison of a node where it is connected.
func CompareNode(ctx context.Context, f *Flags, clients []*Client, node string) (*introspectionv1.CompareNodeResponse, error) {
	var failure error
	for _, client := range clients {
		response, err := put(ctx, f, client, func(ctx context.Context, client *Client) (*introspectionv1.CompareNodeResponse, error) {
			return client.CompareNode(ctx, &introspectionv1.CompareNodeRequest{Node: node})
		})
		if err == nil {
			return response, nil
		}
		// That it is not connected there says nothing, unless it is nowhere.
		if failure == nil || status.Code(err) != codes.FailedPrecondition {
			failure = client.Explain(err)
		}
	}
	return nil, failure
}
