package pipelinetest

import (
	"errors"
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

func checkSourceFeatures(tb testing.TB, f SourceFixture) {
	_, source, _ := bench(tb, f)
	if _, ok := source.(pipeline.Commander); ok != f.Commands {
		tb.Errorf("the source is a Commander: %v, declared: %v", ok, f.Commands)
	}
	if f.GapUnseen && !f.Forgets {
		tb.Error("GapUnseen without Forgets: there is no gap to see")
	}
}

func checkKept(tb testing.TB, f SourceFixture) {
	d, source, rec := bench(tb, f)
	r := start(tb, f, source, nil, rec)
	d.Ready(tb)
	qualities := f.Qualities
	if len(qualities) == 0 {
		qualities = []pipeline.Quality{pipeline.Good}
	}
	want := f.readings(0, max(1, len(f.Tags))*len(qualities))
	for i := range want {
		if want[i].Order == "" {
			want[i].Quality = qualities[i/len(f.Tags)]
		}
		d.Put(tb, want[i])
		r.awaitAll(f, want[:i+1])
	}
	for _, s := range rec.Samples() {
		if s.Seen.IsZero() || s.At.IsZero() {
			tb.Errorf("sample of %s has no time: at %v, seen %v", s.Tag, s.At, s.Seen)
		}
		if s.At.Location() != time.UTC || s.Seen.Location() != time.UTC {
			tb.Errorf("sample of %s has times in %v and %v, want UTC", s.Tag, s.At.Location(), s.Seen.Location())
		}
	}
	f.checkPositionsDeclared(tb, rec, want)
	r.stop()
}

// checkPositionsDeclared compares the samples with the declaration NoPositions.
func (f SourceFixture) checkPositionsDeclared(tb testing.TB, rec *Recorder, want []Reading) {
	tb.Helper()
	for _, s := range rec.Samples() {
		if _, ok := f.matches(s, want); ok && (s.Position == 0) != f.NoPositions {
			tb.Errorf("sample of %s has position %d, declared without positions: %v (R7)", s.Tag, s.Position, f.NoPositions)
			return
		}
	}
}

func checkOrder(tb testing.TB, f SourceFixture) {
	d, source, rec := bench(tb, f)
	r := start(tb, f, source, nil, rec)
	d.Ready(tb)
	want := f.readings(0, 60)
	for i := 0; i < len(want); i += 12 {
		d.Put(tb, want[i:i+6]...) // two bursts, then a pause: several batches
		d.Put(tb, want[i+6:i+12]...)
		r.awaitAll(f, want[:i+12])
	}
	r.stop()
}

// Emit blocked: the source waits, and what comes meanwhile is not lost.
func checkBlocked(tb testing.TB, f SourceFixture) {
	d, source, rec := bench(tb, f)
	r := start(tb, f, source, nil, rec)
	d.Ready(tb)
	want := f.readings(0, 24)
	d.Put(tb, want[:6]...)
	r.awaitAll(f, want[:6])
	rec.Block()
	d.Put(tb, want[6:12]...)
	if !rec.Await(f.patience(), rec.Waiting) {
		tb.Fatal("the source does not emit while the outlet is blocked")
	}
	taken := len(rec.Batches())
	d.Put(tb, want[12:]...)
	// Long enough for a source that gives up waiting to be seen.
	if within(300*time.Millisecond, r.done) {
		tb.Fatalf("Run ends while the outlet is blocked: %v", r.err)
	}
	if now := len(rec.Batches()); now != taken {
		tb.Errorf("%d batches are taken while the outlet is blocked", now-taken)
	}
	rec.Unblock()
	r.awaitAll(f, want)
	r.stop()
}

var errStore = errors.New("the durable store has failed for good")

func checkEmitFails(tb testing.TB, f SourceFixture) {
	d, source, rec := bench(tb, f)
	r := start(tb, f, source, nil, rec)
	d.Ready(tb)
	want := f.readings(0, 18)
	d.Put(tb, want[:6]...)
	r.awaitAll(f, want[:6])
	before := acknowledged(d)
	rec.FailNext(errStore)
	d.Put(tb, want[6:12]...)
	if !within(f.patience(), r.done) {
		tb.Fatal("Run goes on after Emit has returned an error")
	}
	if r.err == nil {
		tb.Error("Run returns nil after Emit has returned an error, and ctx has not ended")
	}
	if after := acknowledged(d); after > before {
		tb.Errorf("%d readings are acknowledged though Emit returned an error", after-before)
	}
	// The supervisor calls Run again on the same value with the newest durable cursor.
	r = start(tb, f, source, rec.Cursor(), rec)
	d.Ready(tb)
	if f.Forgets {
		// The readings of the failed batch went with the session.
		d.Put(tb, want[12:]...)
		r.awaitAll(f, append(want[:6:6], want[12:]...))
	} else {
		d.Put(tb, want[12:]...)
		r.awaitAll(f, want)
	}
	r.stop()
}

func acknowledged(d Device) int {
	if a, ok := d.(Acknowledger); ok {
		return a.Acknowledged()
	}
	return 0
}

func checkAcknowledged(tb testing.TB, f SourceFixture) {
	d, source, rec := bench(tb, f)
	r := start(tb, f, source, nil, rec)
	d.Ready(tb)
	rec.Block()
	want := f.readings(0, 6)
	d.Put(tb, want...)
	if !rec.Await(f.patience(), rec.Waiting) {
		tb.Fatal("the source does not emit")
	}
	taken := 0
	for _, b := range rec.Batches() {
		taken += len(b.Samples) + len(b.Orders)
	}
	if n := acknowledged(d); n > taken {
		tb.Errorf("%d readings are acknowledged, and only %d durable", n, taken)
	}
	rec.Unblock()
	r.awaitAll(f, want)
	if a, ok := d.(Acknowledger); ok && !rec.Await(f.patience(), func() bool { return a.Acknowledged() > 0 }) {
		tb.Error("nothing is ever acknowledged")
	}
	r.stop()
}

func checkEndpointLost(tb testing.TB, f SourceFixture) {
	d, source, rec := bench(tb, f)
	r := start(tb, f, source, nil, rec)
	d.Ready(tb)
	want := f.readings(0, 18)
	d.Put(tb, want[:6]...)
	r.awaitAll(f, want[:6])
	d.Stop(tb)
	if f.Reconnects {
		d.Start(tb)
	} else {
		if !within(f.patience(), r.done) {
			tb.Fatal("Run goes on without its endpoint; declare Reconnects when it is meant to")
		}
		if r.err == nil {
			tb.Error("Run returns nil, want the reason why the endpoint is lost")
		}
		d.Start(tb)
		r = start(tb, f, source, rec.Cursor(), rec)
	}
	d.Ready(tb)
	d.Put(tb, want[6:]...)
	r.awaitAll(f, want)
	if f.Forgets && !f.GapUnseen {
		f.awaitLoss(tb, rec)
	}
	r.stop()
}

// awaitLoss waits for the sample that marks a gap, for each tag.
func (f SourceFixture) awaitLoss(tb testing.TB, rec *Recorder) {
	tb.Helper()
	for _, tag := range f.Tags {
		marked := func() bool {
			for _, s := range rec.Samples() {
				if s.Tag == tag && s.Quality&0xFFFF0000 == pipeline.BadDataLost {
					return true
				}
			}
			return false
		}
		if !rec.Await(f.patience(), marked) {
			tb.Errorf("the gap of %s is not marked by a BadDataLost sample", tag)
		}
	}
}

func checkCursor(tb testing.TB, f SourceFixture) {
	d, source, rec := bench(tb, f)
	r := start(tb, f, source, nil, rec)
	d.Ready(tb)
	want := f.readings(0, 18)
	d.Put(tb, want[:6]...)
	r.awaitAll(f, want[:6])
	r.stop()
	cursor := rec.Cursor()
	if (cursor == nil) != f.NoCursor {
		tb.Errorf("the cursor is %q, declared without: %v", cursor, f.NoCursor)
	}
	if !f.Forgets {
		d.Put(tb, want[6:12]...) // nobody is connected
	}
	r = start(tb, f, d.Source(tb), cursor, rec)
	d.Ready(tb)
	d.Put(tb, want[12:]...)
	if f.Forgets {
		want = append(want[:6:6], want[12:]...)
	}
	r.awaitAll(f, want)
	r.stop()
}

func checkCancelIdle(tb testing.TB, f SourceFixture) {
	d, source, rec := bench(tb, f)
	r := start(tb, f, source, nil, rec)
	d.Ready(tb)
	want := f.readings(0, 1)
	d.Put(tb, want...)
	r.awaitAll(f, want)
	r.stop()
}

func checkCancelBlocked(tb testing.TB, f SourceFixture) {
	d, source, rec := bench(tb, f)
	rec.Block()
	r := start(tb, f, source, nil, rec)
	d.Ready(tb)
	d.Put(tb, f.readings(0, 6)...)
	if !rec.Await(f.patience(), rec.Waiting) {
		tb.Fatal("the source does not emit")
	}
	r.stop()
}

func checkCancelAway(tb testing.TB, f SourceFixture) {
	d, source, rec := bench(tb, f)
	d.Stop(tb)
	r := start(tb, f, source, nil, rec)
	r.cancel()
	if !within(time.Second, r.done) {
		tb.Error("Run does not return within 1 s of cancel while its endpoint is away")
	}
	d.Start(tb)
}
