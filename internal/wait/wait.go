// Package wait waits for a while or for the end of a context, whichever comes first. It holds nothing else; every
// package that runs something may import it, connectors and the mapping have no use for it.
package wait

import (
	"context"
	"time"
)

// For waits for d, not at all when d is not positive, and reports whether ctx is still alive then.
func For(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
