package pipelinetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// Recorder is an Outlet that keeps what it takes. It can block and fail as a
// durable store does, and it reports what an Outlet's caller must not do: two Emits
// at once, an Emit after a failed one, positions and watermarks that run back. It
// is safe for use by several goroutines.
type Recorder struct {
	tb testing.TB

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at each change
	batches   []pipeline.Batch
	cursor    []byte
	gate      chan struct{} // non-nil while blocked; closed to go on
	waiting   int           // Emits that stand before the gate
	busy      bool
	failing   error // for the next Emit
	failed    bool  // an Emit has failed since the Run began
	positions map[lane]uint64
	seen      map[place]pipeline.Sample
	watermark time.Time
	broken    []string // broken rules, for tests of the suite
}

// lane is what positions count in: a session, live or, with FlagHistorical, fill.
type lane struct {
	session    string
	historical bool
}

type place struct {
	lane
	position uint64
}

// NewRecorder returns an empty Recorder that reports broken rules to tb.
func NewRecorder(tb testing.TB) *Recorder {
	return &Recorder{tb: tb, changed: make(chan struct{}), positions: map[lane]uint64{}, seen: map[place]pipeline.Sample{}}
}

var _ pipeline.Outlet = (*Recorder)(nil)

// Emit implements pipeline.Outlet.
func (r *Recorder) Emit(ctx context.Context, b pipeline.Batch) error {
	gate, err := r.enter()
	if err != nil {
		return err
	}
	defer r.leave()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return fmt.Errorf("emitting: %w", ctx.Err())
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("emitting: %w", err)
	}
	r.keep(b)
	return nil
}

func (r *Recorder) enter() (chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy {
		r.breakRule("two Emits are under way at once")
	}
	if r.failed {
		r.breakRule("Emit is called again after it returned an error, which is final for this Run")
	}
	r.busy = true
	if r.failing != nil {
		err := r.failing
		r.failing, r.failed, r.busy = nil, true, false
		r.signal()
		return nil, err
	}
	if r.gate != nil {
		r.waiting++
	}
	r.signal()
	return r.gate, nil
}

func (r *Recorder) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = false
	r.waiting = 0
	r.signal()
}

// keep copies the batch, since its slices are the caller's again after Emit.
func (r *Recorder) keep(b pipeline.Batch) {
	b.Samples = slices.Clone(b.Samples)
	b.Orders = slices.Clone(b.Orders)
	b.Dead = slices.Clone(b.Dead)
	b.Cursor = bytes.Clone(b.Cursor)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkPositions(b)
	if !b.Watermark.IsZero() {
		if b.Watermark.Before(r.watermark) {
			r.breakRule("the watermark runs back from %s to %s", r.watermark, b.Watermark)
		}
		r.watermark = b.Watermark
	}
	r.batches = append(r.batches, b)
	if b.Cursor != nil {
		r.cursor = b.Cursor
	}
	r.signal()
}

// checkPositions keeps R7: positions rise within a session and lane. The same
// position may come again after a reconnect, with the same content.
func (r *Recorder) checkPositions(b pipeline.Batch) {
	before := map[lane]uint64{}
	for _, s := range b.Samples {
		if s.Position == 0 {
			continue
		}
		l := lane{b.Session, s.Flags&pipeline.FlagHistorical != 0}
		if p, ok := before[l]; ok && s.Position <= p {
			r.breakRule("position %d follows %d in one batch of session %q", s.Position, p, b.Session)
		}
		before[l] = s.Position
		at := place{l, s.Position}
		if old, ok := r.seen[at]; ok && Identity(old) != Identity(s) {
			r.breakRule("position %d of session %q is %v of %s, and was %v of %s", s.Position, b.Session, s.Value, s.Tag, old.Value, old.Tag)
		}
		if _, repeat := r.seen[at]; !repeat && s.Position <= r.positions[l] {
			r.breakRule("new position %d of session %q comes after %d", s.Position, b.Session, r.positions[l])
		}
		r.seen[at] = s
		r.positions[l] = max(r.positions[l], s.Position)
	}
}

func (r *Recorder) breakRule(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	r.broken = append(r.broken, message)
	r.tb.Error(message)
}

// signal wakes who waits in Await; the caller holds mu.
func (r *Recorder) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// begin prepares for a new Run: an error of the last one is forgotten, the
// watermark may begin anew.
func (r *Recorder) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = false
	r.watermark = time.Time{}
}

// Block lets each further Emit wait until Unblock.
func (r *Recorder) Block() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gate == nil {
		r.gate = make(chan struct{})
	}
}

// Unblock lets the waiting Emits go on.
func (r *Recorder) Unblock() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gate != nil {
		close(r.gate)
		r.gate = nil
	}
}

// FailNext makes the next Emit return err and keep nothing.
func (r *Recorder) FailNext(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = err
}

// Waiting says whether an Emit stands before the gate.
func (r *Recorder) Waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting > 0
}

// Failed says whether an Emit has returned an error in this Run.
func (r *Recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// Batches returns what was taken, in order. The slice is the caller's.
func (r *Recorder) Batches() []pipeline.Batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

// Samples returns the samples of all batches, in order.
func (r *Recorder) Samples() []pipeline.Sample {
	var out []pipeline.Sample
	for _, b := range r.Batches() {
		out = append(out, b.Samples...)
	}
	return out
}

// Cursor returns the newest cursor that was taken, nil when there is none.
func (r *Recorder) Cursor() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.cursor)
}

// Await waits until condition holds, at most for patience, and says whether it
// does. The condition is asked after each change of the Recorder.
func (r *Recorder) Await(patience time.Duration, condition func() bool) bool {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if condition() {
			return true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return condition()
		}
	}
}

// Mark is what tells two samples apart when they have no position (R7): equal
// marks are repeats of one sample.
type Mark struct {
	Tag     string
	At      int64 // ns since 1970
	Ordinal uint32
	Quality pipeline.Quality
	Value   pipeline.Value
}

// Identity returns the mark of a sample.
func Identity(s pipeline.Sample) Mark {
	return Mark{Tag: s.Tag, At: s.At.UnixNano(), Ordinal: s.Ordinal, Quality: s.Quality, Value: s.Value}
}
