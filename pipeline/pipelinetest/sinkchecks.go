package pipelinetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

func checkSinkFeatures(tb testing.TB, f SinkFixture) {
	_, sink, _ := sinkBench(tb, f)
	if _, ok := sink.(pipeline.Lookuper); ok == f.NoLookup {
		tb.Errorf("the sink is a Lookuper: %v, declared without: %v", ok, f.NoLookup)
	}
	if _, ok := sink.(pipeline.Settler); ok != f.Settles {
		tb.Errorf("the sink is a Settler: %v, declared: %v", ok, f.Settles)
	}
}

// write delivers events and wants one receipt for each.
func write(tb testing.TB, ctx context.Context, sink pipeline.Sink, events ...pipeline.Event) []pipeline.Receipt {
	tb.Helper()
	receipts, err := sink.Write(ctx, events)
	if err != nil || len(receipts) != len(events) {
		tb.Fatalf("writing %d events gives %d receipts, %v", len(events), len(receipts), err)
	}
	for i, r := range receipts {
		if r.Skipped {
			tb.Fatalf("event %s is skipped; the fixture must make events that the sink takes", events[i].ID)
		}
	}
	return receipts
}

// wantEffects compares the ledger with the events that must have had effect, once
// each and in this order.
func wantEffects(tb testing.TB, p Peer, events ...pipeline.Event) {
	tb.Helper()
	got := p.Effects(tb)
	if len(got) != len(events) {
		tb.Fatalf("the ledger has %d effects, want %d: %v", len(got), len(events), got)
	}
	for i, e := range events {
		if got[i].EventID != e.ID {
			tb.Errorf("effect %d is of event %s, want %s", i, got[i].EventID, e.ID)
		}
	}
}

func checkSinkOrder(tb testing.TB, f SinkFixture) {
	p, sink, ctx := sinkBench(tb, f)
	var all []pipeline.Event
	var receipts []pipeline.Receipt
	for n := range 10 {
		for _, key := range []string{"A", "B"} {
			e := f.Event(key, n)
			receipts = append(receipts, write(tb, ctx, sink, e)...)
			all = append(all, e)
		}
	}
	wantEffects(tb, p, all...)
	for i, effect := range p.Effects(tb) {
		if effect.Document != receipts[i].Document {
			tb.Errorf("the receipt of %s says document %q, the ledger %q", all[i].ID, receipts[i].Document, effect.Document)
		}
	}
	// Several events in one call: a receipt for each that is delivered, in order.
	more := []pipeline.Event{f.Event("A", 10), f.Event("A", 11)}
	got, err := sink.Write(ctx, more)
	if err != nil || len(got) != len(more) {
		tb.Fatalf("writing two events at once gives %d receipts, %v", len(got), err)
	}
	wantEffects(tb, p, append(all, more...)...)
}

func checkTwice(tb testing.TB, f SinkFixture) {
	p, sink, ctx := sinkBench(tb, f)
	e := f.Event("A", 0)
	first := write(tb, ctx, sink, e)
	second := write(tb, ctx, p.Sink(tb), e) // as after a crash before the receipt
	want := 1
	if f.NotIdempotent {
		want = 2
	}
	if got := len(p.Effects(tb)); got != want {
		tb.Errorf("the same event twice has %d effects, want %d as declared", got, want)
	}
	if !f.NotIdempotent && first[0].Document != second[0].Document {
		tb.Errorf("the repeat's receipt says document %q, the first said %q", second[0].Document, first[0].Document)
	}
}

func checkRefused(tb testing.TB, f SinkFixture) {
	if f.NeverRefuses {
		return
	}
	p, sink, ctx := sinkBench(tb, f)
	p.Fail(tb, Refuse)
	receipts, err := sink.Write(ctx, []pipeline.Event{f.Event("A", 0)})
	var reject *pipeline.Reject
	if !errors.As(err, &reject) || len(receipts) != 0 {
		tb.Fatalf("a refused event gives %d receipts and %v, want a Reject (R1)", len(receipts), err)
	}
	if reject.Code == "" || reject.Err == nil {
		tb.Errorf("the Reject has code %q and reason %v", reject.Code, reject.Err)
	}
	wantEffects(tb, p)
	next := f.Event("A", 1)
	write(tb, ctx, sink, next)
	wantEffects(tb, p, next)
}

func checkUnavailable(tb testing.TB, f SinkFixture) {
	if f.NeverUnavailable {
		return
	}
	p, sink, ctx := sinkBench(tb, f)
	p.Fail(tb, Unavailable)
	e := f.Event("A", 0)
	wantNotExecuted(tb, ctx, sink, e)
	wantEffects(tb, p)
	write(tb, ctx, sink, e)
	wantEffects(tb, p, e)
}

func checkPeerAway(tb testing.TB, f SinkFixture) {
	p, sink, ctx := sinkBench(tb, f)
	p.Stop(tb)
	e := f.Event("A", 0)
	wantNotExecuted(tb, ctx, sink, e)
	p.Start(tb)
	wantEffects(tb, p)
	write(tb, ctx, sink, e)
	wantEffects(tb, p, e)
}

func wantNotExecuted(tb testing.TB, ctx context.Context, sink pipeline.Sink, e pipeline.Event) {
	tb.Helper()
	receipts, err := sink.Write(ctx, []pipeline.Event{e})
	var again *pipeline.NotExecuted
	if !errors.As(err, &again) || len(receipts) != 0 {
		tb.Fatalf("got %d receipts and %v, want NotExecuted (R1)", len(receipts), err)
	}
}

// doubtful reports an answer that claims to know what it cannot know.
func doubtful(tb testing.TB, receipts []pipeline.Receipt, err error) {
	tb.Helper()
	var reject *pipeline.Reject
	var again *pipeline.NotExecuted
	switch {
	case err == nil || len(receipts) != 0:
		tb.Fatalf("no answer came, and Write gives %d receipts, %v", len(receipts), err)
	case errors.As(err, &reject), errors.As(err, &again):
		tb.Fatalf("no answer came, and Write says %v; only an error in doubt is true (R1)", err)
	}
}

func checkDoubt(tb testing.TB, f SinkFixture) {
	p, sink, ctx := sinkBench(tb, f)
	p.Fail(tb, CommitAndHang)
	e := f.Event("A", 0)
	receipts, err := sink.Write(ctx, []pipeline.Event{e})
	doubtful(tb, receipts, err)
	if ctx.Err() != nil {
		tb.Fatal("Write has no time-out of its own: it waited until ctx ended")
	}
	wantEffects(tb, p, e)
	if l, ok := sink.(pipeline.Lookuper); ok {
		r, found, err := l.Lookup(ctx, e)
		if err != nil || !found || r.Document != p.Effects(tb)[0].Document {
			tb.Errorf("the look-up gives %+v, %v, %v; the ledger has %+v", r, found, err, p.Effects(tb)[0])
		}
	}
	p.Fail(tb, Hang)
	lost := f.Event("A", 1)
	receipts, err = sink.Write(ctx, []pipeline.Event{lost})
	doubtful(tb, receipts, err)
	if l, ok := sink.(pipeline.Lookuper); ok {
		if r, found, err := l.Lookup(ctx, lost); err != nil || found {
			tb.Errorf("the look-up of what had no effect gives %+v, %v, %v", r, found, err)
		}
	}
	wantEffects(tb, p, e)
}

func checkLookupNothing(tb testing.TB, f SinkFixture) {
	p, sink, ctx := sinkBench(tb, f)
	l, ok := sink.(pipeline.Lookuper)
	if !ok {
		return // checked against the declaration elsewhere
	}
	e := f.Event("A", 0)
	if r, found, err := l.Lookup(ctx, e); err != nil || found {
		tb.Errorf("the look-up before the write gives %+v, %v, %v", r, found, err)
	}
	receipt := write(tb, ctx, sink, e)[0]
	if r, found, err := l.Lookup(ctx, e); err != nil || !found || r.Document != receipt.Document {
		tb.Errorf("the look-up after the write gives %+v, %v, %v; the receipt was %+v", r, found, err, receipt)
	}
	// A look-up that cannot ask must not say that there is no effect.
	p.Stop(tb)
	if r, found, err := l.Lookup(ctx, e); err == nil {
		tb.Errorf("the look-up without a peer gives %+v, %v and no error", r, found)
	}
	p.Start(tb)
}

func checkSinkCancel(tb testing.TB, f SinkFixture) {
	p, sink, ctx := sinkBench(tb, f)
	p.Fail(tb, CommitAndHang)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := f.Event("A", 0)
	var receipts []pipeline.Receipt
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		receipts, err = sink.Write(ctx, []pipeline.Event{e})
	}()
	if !eventually(f.patience(), func() bool { return len(p.Effects(tb)) > 0 }) {
		tb.Fatal("the write never reaches the peer")
	}
	cancel()
	if !within(time.Second, done) {
		tb.Error("Write does not return within 1 s of cancel")
		<-done
	}
	doubtful(tb, receipts, err)
}

// eventually asks for a condition every few milliseconds, at most for patience:
// for peers that cannot say when something changes.
func eventually(patience time.Duration, condition func() bool) bool {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if condition() {
			return true
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			return condition()
		}
	}
}
