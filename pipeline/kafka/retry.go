package kafka

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffMin = 50 * time.Millisecond
	backoffMax = 5 * time.Second
	// logAfter is the number of tries after which a person is told, and again at every doubling.
	logAfter = 4
)

// backoff counts the tries of one request. The zero value is ready.
type backoff struct{ tries int }

// wait sleeps with full jitter and reports ctx's end.
func (b *backoff) wait(ctx context.Context) error {
	d := min(backoffMax, backoffMin<<min(b.tries, 10))
	b.tries++
	t := time.NewTimer(d/8 + rand.N(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// loud reports whether this try is worth a line in the log.
func (b *backoff) loud() bool {
	return b.tries >= logAfter && b.tries&(b.tries-1) == 0
}

// retry calls fn until it succeeds, fails for good, or ctx ends.
func (c *Client) retry(ctx context.Context, what string, fn func(context.Context) error) error {
	var b backoff
	for {
		err := fn(ctx)
		if err == nil || fatal(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.stale(err)
		if b.loud() {
			c.cfg.Log.Warn("Kafka does not answer as it should; trying again", "what", what, "tries", b.tries, "err", explain(err))
		}
		if err := b.wait(ctx); err != nil {
			return err
		}
	}
}
