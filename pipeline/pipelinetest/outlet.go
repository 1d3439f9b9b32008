package pipelinetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plantloom/plantloom/pipeline"
)

// Store is what stands behind an outlet: a Kafka topic, a spool. Each check gets
// a new one.
type Store interface {
	// Outlet returns an outlet on this store for one source, as after a start of the
	// process. The tags of the fixture are its tag list.
	Outlet(tb testing.TB) pipeline.Outlet
	// Crash ends the process of the outlet that Outlet returned last without warning,
	// as far as the double can; a new Outlet call follows.
	Crash(tb testing.TB)
	// Stored returns the samples that are durable, and the cursor, as a reader sees
	// them. Samples of one asset stand in the order of Emit. Session and other things
	// of a batch are not compared.
	Stored(tb testing.TB) (samples []pipeline.Sample, cursor []byte)
	// Stop takes the store away, Start brings it back with what is durable.
	Stop(tb testing.TB)
	Start(tb testing.TB)
}

// OutletFixture describes an outlet and its store to the suite.
type OutletFixture struct {
	// Store starts a store; it ends with tb.
	Store func(tb testing.TB) Store
	// Tags are the tags that the outlet knows, of at least two assets.
	Tags []pipeline.Tag
	// NeverAway: the store is part of the process and cannot be taken away.
	NeverAway bool
	// Patience bounds each wait. Zero: 15 s.
	Patience time.Duration
	// Goroutines are options for the leak check, for what the test double leaves behind.
	Goroutines []goleak.Option
}

// Outlet runs the conformance suite of outlets. The caller must not be parallel.
func Outlet(t *testing.T, f OutletFixture) {
	t.Helper()
	for _, c := range outletChecks() {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, f)
		})
	}
}

func outletChecks() []check[OutletFixture] {
	return []check[OutletFixture]{
		{"nil means durable, of every asset and with every field", checkDurable},
		{"a crash after nil loses nothing", checkCrash},
		{"the cursor is saved with its batch, and stays when a batch has none", checkCursorSaved},
		{"the caller may reuse the slices after emit", checkReuse},
		{"while the store is away emit blocks, and loses nothing", checkStoreAway},
		{"the end of ctx ends a blocked emit within a second", checkOutletCancel},
	}
}

func (f OutletFixture) patience() time.Duration {
	if f.Patience > 0 {
		return f.Patience
	}
	return 15 * time.Second
}

func outletBench(tb testing.TB, f OutletFixture) (Store, pipeline.Outlet, context.Context) {
	tb.Helper()
	s := f.Store(tb)
	watchLeaks(tb, f.Goroutines)
	ctx, cancel := context.WithTimeout(context.Background(), f.patience())
	tb.Cleanup(cancel)
	return s, s.Outlet(tb), ctx
}

// batch makes samples from to to-1, over all tags, with every field in use.
func (f OutletFixture) batch(from, to int, cursor string) pipeline.Batch {
	b := pipeline.Batch{Session: "session", State: pipeline.StateLive}
	values := []pipeline.Value{
		pipeline.Int(-1 << 62), pipeline.Uint(1<<64 - 1), pipeline.Double(0.1), pipeline.Float(0.1), pipeline.Bool(true),
		pipeline.Text("größe"), pipeline.Time(beginAt().Add(time.Nanosecond)), pipeline.Null(), pipeline.JSON("[1,2]"), pipeline.Bytes([]byte{0, 255}),
	}
	qualities := []pipeline.Quality{pipeline.Good, pipeline.UncertainLastUsable, pipeline.BadTimeout, pipeline.GoodOverflow}
	for n := from; n < to; n++ {
		at := beginAt().Add(time.Duration(n) * time.Millisecond)
		b.Samples = append(b.Samples, pipeline.Sample{
			Tag: f.Tags[n%len(f.Tags)].ID, Value: values[n%len(values)], Quality: qualities[n%len(qualities)],
			At: at, ServerAt: at.Add(time.Millisecond), Seen: at.Add(2 * time.Millisecond),
			Position: uint64(n + 1), Ordinal: uint32(n % 3), Flags: pipeline.Flags(n % 2),
		})
	}
	b.Watermark = beginAt().Add(time.Duration(to) * time.Millisecond)
	if cursor != "" {
		b.Cursor = []byte(cursor)
	}
	return b
}

// emit makes a batch durable; the slices given to the outlet are copies.
func emit(tb testing.TB, ctx context.Context, o pipeline.Outlet, b pipeline.Batch) {
	tb.Helper()
	b.Samples = slices.Clone(b.Samples)
	b.Cursor = bytes.Clone(b.Cursor)
	if err := o.Emit(ctx, b); err != nil {
		tb.Fatalf("emitting %d samples: %v", len(b.Samples), err)
	}
}

// wantStored compares what is durable with what was emitted, per tag in its order.
func wantStored(tb testing.TB, s Store, cursor string, batches ...pipeline.Batch) {
	tb.Helper()
	got, gotCursor := s.Stored(tb)
	want := map[string][]string{}
	have := map[string][]string{}
	for _, b := range batches {
		for _, x := range b.Samples {
			want[x.Tag] = append(want[x.Tag], describe(x))
		}
	}
	for _, x := range got {
		have[x.Tag] = append(have[x.Tag], describe(x))
	}
	for tag := range want {
		if !slices.Equal(have[tag], want[tag]) {
			tb.Errorf("of %s is stored\n%v\nwant\n%v", tag, have[tag], want[tag])
		}
	}
	if len(have) > len(want) {
		tb.Errorf("samples of %d tags are stored, %d were emitted", len(have), len(want))
	}
	if string(gotCursor) != cursor {
		tb.Errorf("the cursor is %q, want %q", gotCursor, cursor)
	}
}

func describe(s pipeline.Sample) string {
	return fmt.Sprintf("{%v %s %08x at %s server %s seen %s pos %d ord %d flags %x op %d}", s.Value.Type(), s.Value, uint32(s.Quality),
		stamp(s.At), stamp(s.ServerAt), stamp(s.Seen), s.Position, s.Ordinal, s.Flags, s.Op)
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05.000000000") }

func checkDurable(tb testing.TB, f OutletFixture) {
	s, o, ctx := outletBench(tb, f)
	first, second := f.batch(0, 40, "c1"), f.batch(40, 80, "c2")
	emit(tb, ctx, o, first)
	wantStored(tb, s, "c1", first)
	emit(tb, ctx, o, second)
	wantStored(tb, s, "c2", first, second)
}

func checkCrash(tb testing.TB, f OutletFixture) {
	s, o, ctx := outletBench(tb, f)
	first, second := f.batch(0, 20, "c1"), f.batch(20, 40, "c2")
	emit(tb, ctx, o, first)
	s.Crash(tb)
	o = s.Outlet(tb)
	wantStored(tb, s, "c1", first)
	emit(tb, ctx, o, second)
	wantStored(tb, s, "c2", first, second)
}

func checkCursorSaved(tb testing.TB, f OutletFixture) {
	s, o, ctx := outletBench(tb, f)
	emit(tb, ctx, o, f.batch(0, 0, "alone"))
	wantStored(tb, s, "alone")
	b := f.batch(0, 4, "")
	emit(tb, ctx, o, b)
	wantStored(tb, s, "alone", b)
	s.Crash(tb)
	s.Outlet(tb)
	wantStored(tb, s, "alone", b)
}

func checkReuse(tb testing.TB, f OutletFixture) {
	s, o, ctx := outletBench(tb, f)
	want := f.batch(0, 8, "cursor")
	b := want
	b.Samples, b.Cursor = slices.Clone(want.Samples), bytes.Clone(want.Cursor)
	if err := o.Emit(ctx, b); err != nil {
		tb.Fatal(err)
	}
	clear(b.Samples)
	clear(b.Cursor)
	wantStored(tb, s, "cursor", want)
}

func checkStoreAway(tb testing.TB, f OutletFixture) {
	if f.NeverAway {
		return
	}
	s, o, ctx := outletBench(tb, f)
	first, second := f.batch(0, 8, "c1"), f.batch(8, 16, "c2")
	emit(tb, ctx, o, first)
	s.Stop(tb)
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = o.Emit(ctx, second)
	}()
	// An outlet that tells its caller nothing while it waits is given the time in
	// which a wrong one would have answered.
	if within(500*time.Millisecond, done) && err != nil {
		tb.Errorf("emit returns %v while the store is away, want it to block", err)
	}
	s.Start(tb)
	if !within(f.patience(), done) || err != nil {
		tb.Fatalf("emit does not go on after the store is back: %v", err)
	}
	wantStored(tb, s, "c2", first, second)
}

func checkOutletCancel(tb testing.TB, f OutletFixture) {
	if f.NeverAway {
		return
	}
	s, o, ctx := outletBench(tb, f)
	emit(tb, ctx, o, f.batch(0, 4, "c1"))
	s.Stop(tb)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = o.Emit(ctx, f.batch(4, 8, "c2"))
	}()
	cancel()
	if !within(time.Second, done) {
		tb.Error("Emit does not return within 1 s of the end of ctx")
		s.Start(tb)
		<-done
		return
	}
	if err == nil {
		tb.Error("Emit returns nil for a cancelled batch while the store is away")
	}
	s.Start(tb)
}
