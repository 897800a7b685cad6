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

// confirm lists the source anew while a deletion is held back, until the context ends.
func (d *Driver) confirm(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.hold.came:
		}
		said := ""
		for len(d.Held().Held) > 0 && sleep(ctx, confirmAfter) {
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
	held := d.Held().Held
	if len(held) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	listed, err := d.List(ctx)
	if err == nil {
		err = brake.Confirms(listed, held)
	}
	if err != nil {
		return err
	}
	d.Release(held, "a later full list of the source says the same")
	return nil
}
