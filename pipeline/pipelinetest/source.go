package pipelinetest

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plantloom/plantloom/pipeline"
)

// Reading is what a device measures, or an order document that a peer releases.
type Reading struct {
	Tag     string
	Value   pipeline.Value
	Quality pipeline.Quality
	At      time.Time // source time, whole milliseconds, in the past, rising
	Order   string    // id of an order document; the other fields are then empty
}

// Device is the other end of a source: a server, a broker, a database, with the
// faults that the suite asks for. Each check gets a new one.
type Device interface {
	// Source returns a new source on this device, as after a start of the process.
	Source(tb testing.TB) pipeline.Source
	// Ready blocks until a Put would reach the running source. A device that keeps
	// readings for whoever comes later returns at once.
	Ready(tb testing.TB)
	// Put produces readings in their order.
	Put(tb testing.TB, readings ...Reading)
	// Stop takes the endpoint away, as a power cut does; Start brings it back with
	// what it keeps.
	Stop(tb testing.TB)
	Start(tb testing.TB)
}

// Acknowledger is a Device that counts the readings that it holds acknowledged.
type Acknowledger interface {
	Acknowledged() int
}

// SourceFixture describes a source and its device to the suite. The zero value of
// each feature is what a perfect source has.
type SourceFixture struct {
	// Device starts a device; it ends with tb.
	Device func(tb testing.TB) Device
	// Tags are those that Put takes, at least one; a source of orders has none.
	Tags []string
	// Value makes the n-th value, n from 0; each differs. Nil: Int(1000+n).
	Value func(n int) pipeline.Value
	// Qualities are those that the device can send, with what the source makes of
	// them. Empty: only Good.
	Qualities []pipeline.Quality
	// NoDeviceTime: the device gives no time; At is the time of arrival.
	NoDeviceTime bool
	// Forgets: what happens while nobody is connected is gone. The source then
	// marks the gap with a BadDataLost sample per affected tag.
	Forgets bool
	// GapUnseen: with Forgets, the source cannot know of a gap (a value polled
	// now and then has none).
	GapUnseen bool
	// Coalesces: of changes in quick succession only the newest is certain.
	Coalesces bool
	// NoPositions: samples have no position; repeats are told by their identity.
	NoPositions bool
	// NoCursor: the source keeps no cursor, its device knows where to go on.
	NoCursor bool
	// Reconnects: Run outlives the loss of its endpoint.
	Reconnects bool
	// Commands: the source is a pipeline.Commander.
	Commands bool
	// Patience bounds each wait. Zero: 15 s.
	Patience time.Duration
	// Goroutines are options for the leak check, for what the test double leaves behind.
	Goroutines []goleak.Option
}

// check is one sentence of a suite.
type check[F any] struct {
	name string
	run  func(tb testing.TB, f F)
}

// Source runs the conformance suite of sources. The caller must not be parallel.
func Source(t *testing.T, f SourceFixture) {
	t.Helper()
	for _, c := range sourceChecks() {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, f)
		})
	}
}

func sourceChecks() []check[SourceFixture] {
	return []check[SourceFixture]{
		{"the declared features are those of the source", checkSourceFeatures},
		{"value, quality and device time are kept", checkKept},
		{"readings of a tag arrive in their order", checkOrder},
		{"a blocked outlet holds the source and loses nothing", checkBlocked},
		{"a failed emit ends the run and loses nothing", checkEmitFails},
		{"nothing is acknowledged before emit returns nil", checkAcknowledged},
		{"a lost endpoint ends the run and comes back", checkEndpointLost},
		{"a new process goes on at the cursor", checkCursor},
		{"cancel ends an idle run within a second", checkCancelIdle},
		{"cancel ends a blocked run within a second", checkCancelBlocked},
		{"cancel ends a run without an endpoint within a second", checkCancelAway},
	}
}

func (f SourceFixture) patience() time.Duration {
	if f.Patience > 0 {
		return f.Patience
	}
	return 15 * time.Second
}

// readings makes the readings from to to-1, spread over the tags in turn. Their
// times are fixed, so that a run can be repeated, and lie in the past.
func (f SourceFixture) readings(from, to int) []Reading {
	out := make([]Reading, 0, to-from)
	for n := from; n < to; n++ {
		if len(f.Tags) == 0 {
			out = append(out, Reading{Order: orderID(n)})
			continue
		}
		r := Reading{Tag: f.Tags[n%len(f.Tags)], Value: f.value(n), At: beginAt().Add(time.Duration(n) * 100 * time.Millisecond)}
		out = append(out, r)
	}
	return out
}

func (f SourceFixture) value(n int) pipeline.Value {
	if f.Value != nil {
		return f.Value(n)
	}
	return pipeline.Int(int64(1000 + n))
}

func beginAt() time.Time { return time.Date(2024, 3, 1, 6, 0, 0, 0, time.UTC) }

// running is a Run under way, and what it gave to its Recorder.
type running struct {
	tb       testing.TB
	patience time.Duration
	rec      *Recorder
	source   pipeline.Source
	cancel   context.CancelFunc
	done     chan struct{}
	err      error // of Run, when done is closed
}

// start begins a Run and ends it with tb.
func start(tb testing.TB, f SourceFixture, source pipeline.Source, cursor []byte, rec *Recorder) *running {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{tb: tb, patience: f.patience(), rec: rec, source: source, cancel: cancel, done: make(chan struct{})}
	rec.begin()
	go func() {
		defer close(r.done)
		r.err = source.Run(ctx, cursor, rec)
	}()
	tb.Cleanup(func() {
		cancel()
		rec.Unblock()
		if !within(f.patience(), r.done) {
			tb.Error("Run does not end at all after its context")
		}
	})
	return r
}

// stop ends the Run and reports when it takes longer than a second or ends with
// an error: the end of ctx is no error.
func (r *running) stop() {
	r.tb.Helper()
	r.cancel()
	if !within(time.Second, r.done) {
		r.tb.Fatal("Run does not return within 1 s of cancel")
	}
	if r.err != nil {
		r.tb.Errorf("Run returns %v after cancel, want nil", r.err)
	}
}

// within says whether done closes before d has passed.
func within(d time.Duration, done <-chan struct{}) bool {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	select {
	case <-done:
		return true
	case <-timeout.C:
		return false
	}
}

// watchLeaks fails tb at its end when goroutines are left. It is called after the
// device is started, so that the device's own are known, and before the source.
// Cleanups run in reverse: what is started later is ended before the check.
func watchLeaks(tb testing.TB, options []goleak.Option) {
	tb.Helper()
	known := append([]goleak.Option{goleak.IgnoreCurrent()}, options...)
	tb.Cleanup(func() {
		if err := goleak.Find(known...); err != nil {
			tb.Errorf("the connector leaves goroutines behind: %v", err)
		}
	})
}

// bench starts a device, watches for leaks and makes a source on it.
func bench(tb testing.TB, f SourceFixture) (Device, pipeline.Source, *Recorder) {
	tb.Helper()
	d := f.Device(tb)
	watchLeaks(tb, f.Goroutines)
	return d, d.Source(tb), NewRecorder(tb)
}
