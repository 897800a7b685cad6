package round

import (
	"context"
	"time"

	"github.com/portolan-net/portolan/controlplane/internal/brake"
)

const (
	// confirmAfter is how long after a deletion was held back the source is listed
	// anew, and again if that did not confirm it.
	confirmAfter = brake.Window
	// listTimeout bounds one list.
	listTimeout = 30 * time.Second
)

// confirm lists the source anew while the brake is on, until the context ends.
func (d *Driver) confirm(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.hold.came:
		}
		said := ""
		for d.Held().On() && sleep(ctx, confirmAfter) {
			err := d.listAnew(ctx)
			if err != nil && err.Error() != said && ctx.Err() == nil {
				said = err.Error()
				d.Logger.Warn("the mass deletion is not confirmed, and stays held back", "because", said, "again_every", confirmAfter)
			}
		}
	}
}

// listAnew lets go what was held before the list, if the list confirms it.
func (d *Driver) listAnew(ctx context.Context) error {
	before := d.Held()
	if !before.On() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	listed, err := d.List(ctx)
	if err == nil {
		err = brake.Confirms(listed, before.Held)
	}
	if err == nil && before.Doubted > 0 {
		err = brake.Complete(listed, d.Cluster.Services())
	}
	if err != nil {
		return err
	}
	const why = "a later full list of the source says the same"
	d.Release(before.Held, why)
	d.Trust(why)
	return nil
}
