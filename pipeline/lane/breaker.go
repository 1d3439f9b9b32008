package lane

import (
	"context"
	"sync"
	"time"
)

// breakAfter is the number of refusals in a row, from more than one lane, that says that the sink as a whole is away.
const breakAfter = 4

// breaker pauses all lanes of a sink that is away and lets one of them probe. It looks at availability only: a
// rejected event or one in doubt says nothing about the next.
type breaker struct {
	min, max time.Duration
	changed  func()

	mu      sync.Mutex
	refused int
	lanes   map[string]bool // that were refused in this row
	cause   error           // why it is open; nil when closed
	wait    time.Duration
	ready   bool // the pause is over, one may probe
	probing bool
	wake    chan struct{} // closed at every change
}

func newBreaker(min, max time.Duration, changed func()) *breaker {
	return &breaker{min: min, max: max, changed: changed, lanes: map[string]bool{}, wake: make(chan struct{})}
}

// why returns the last refusal while the breaker is open.
func (b *breaker) why() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cause
}

// enter waits until a request may be sent. Every enter is followed by one of ok, refuse and leave.
func (b *breaker) enter(ctx context.Context) error {
	for {
		b.mu.Lock()
		switch {
		case b.cause == nil:
			b.mu.Unlock()
			return nil
		case b.ready && !b.probing:
			b.probing = true
			b.mu.Unlock()
			return nil
		}
		wake := b.wake
		b.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ok says that the sink answered: the breaker closes.
func (b *breaker) ok() {
	b.mu.Lock()
	was := b.cause != nil
	b.refused, b.cause, b.probing, b.ready, b.wait = 0, nil, false, false, 0
	clear(b.lanes)
	b.signal()
	b.mu.Unlock()
	if was {
		b.changed()
	}
}

// leave says that a request had no outcome that says something about availability.
func (b *breaker) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	b.signal()
}

// refuse says that a lane's request was not executed. after is the peer's own wish.
func (b *breaker) refuse(lane string, err error, after time.Duration) {
	b.mu.Lock()
	b.refused++
	b.lanes[lane] = true
	b.probing = false
	open := b.cause != nil || (b.refused >= breakAfter && len(b.lanes) > 1)
	if open {
		b.wait = max(min(max(2*b.wait, b.min), b.max), after)
		b.cause, b.ready = err, false
		time.AfterFunc(jitter(b.wait), b.elapsed)
	}
	b.signal()
	b.mu.Unlock()
	if open {
		b.changed()
	}
}

func (b *breaker) elapsed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = true
	b.signal()
}

func (b *breaker) signal() {
	close(b.wake)
	b.wake = make(chan struct{})
}
