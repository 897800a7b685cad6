package nodeauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/go-hclog"
)

// Published is what a cluster publishes for those who verify its tokens.
type Published struct {
	// Issuer is who signs them.
	Issuer string
	// JWKS is the set of keys (RFC 7517).
	JWKS []byte
}

const (
	// keysEvery is how often the keys are read again, so that one that was withdrawn ends
	// to be trusted.
	keysEvery = 5 * time.Minute
	// keysAgain spaces the readings for tokens that are signed with unknown keys, which
	// anybody can send, and after failures.
	keysAgain = 5 * time.Second
)

// ErrNoKeys means that the cluster's keys have not been read yet.
var ErrNoKeys = errors.New("the cluster's signing keys are not known yet")

// Keys keeps the cluster's signing keys. What was read last stays in use while they
// cannot be read. It is safe for concurrent use.
type Keys struct {
	fetch  func(context.Context) (Published, error)
	logger hclog.Logger
	now    func() time.Time

	mu     sync.Mutex
	issuer string
	keys   []jose.JSONWebKey
	// read is when they were last asked for.
	read time.Time
}

// NewKeys returns keys that fetch reads.
func NewKeys(fetch func(context.Context) (Published, error), logger hclog.Logger, now func() time.Time) *Keys {
	return &Keys{fetch: fetch, logger: logger, now: now}
}

// Run reads the keys again and again until the context ends.
func (k *Keys) Run(ctx context.Context) error {
	for {
		wait := keysEvery
		if err := k.refresh(ctx); err != nil {
			wait = keysAgain
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// keySet is the keys that may have signed a token.
type keySet struct {
	issuer string
	keys   []jose.JSONWebKey
}

// Of returns the keys of an ID, or all for the empty ID. For one that is unknown they are
// read again, unless they just were.
func (k *Keys) Of(ctx context.Context, id string) (keySet, error) {
	set, age := k.lookUp(id)
	if len(set.keys) == 0 && age >= keysAgain {
		_ = k.refresh(ctx) // It is logged, and what is known stays.
		set, _ = k.lookUp(id)
	}
	if set.issuer == "" {
		return set, ErrNoKeys
	}
	return set, nil
}

func (k *Keys) lookUp(id string) (set keySet, age time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	set.issuer = k.issuer
	for _, key := range k.keys {
		if id == "" || key.KeyID == id {
			set.keys = append(set.keys, key)
		}
	}
	return set, k.now().Sub(k.read)
}

func (k *Keys) refresh(ctx context.Context) error {
	k.mu.Lock()
	k.read = k.now()
	k.mu.Unlock()
	published, err := k.fetch(ctx)
	var set jose.JSONWebKeySet
	if err == nil {
		if err = json.Unmarshal(published.JWKS, &set); err != nil {
			err = fmt.Errorf("reading the cluster's signing keys: expected a JSON Web Key Set: %w", err)
		}
	}
	if err == nil && (published.Issuer == "" || len(set.Keys) == 0) {
		err = fmt.Errorf("reading the cluster's signing keys: issuer %q, %d keys: expected an issuer and its keys", published.Issuer, len(set.Keys))
	}
	if err != nil {
		if ctx.Err() == nil {
			k.logger.Warn("cannot read the cluster's signing keys; those that are known stay in use", "error", err)
		}
		return err
	}
	var public []jose.JSONWebKey
	for _, key := range set.Keys {
		if key.Valid() && key.IsPublic() {
			public = append(public, key)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.issuer, k.keys = published.Issuer, public
	return nil
}
