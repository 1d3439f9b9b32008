package pipelinetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plantloom/plantloom/pipeline"
)

// Effect is what a peer's ledger says that an event has done.
type Effect struct {
	EventID  string
	Key      string
	Document string // the peer's number, as the receipt has it; empty when it gives none
}

// Fault is what a peer does to the next request.
type Fault uint8

// The faults of peers.
const (
	// Refuse: the peer checks the content and refuses it for good.
	Refuse Fault = iota + 1
	// Unavailable: the peer says before it executes anything that it cannot now.
	Unavailable
	// CommitAndHang: the effect happens and the answer never comes, until the sink
	// gives up or ctx ends.
	CommitAndHang
	// Hang: neither effect nor answer.
	Hang
)

// Peer is the other end of a sink: a business system with a ledger. Each check
// gets a new one.
type Peer interface {
	// Sink returns a new sink on this peer, as after a start of the process. Its own
	// time-out for a request should be well below the fixture's patience.
	Sink(tb testing.TB) pipeline.Sink
	// Effects returns the ledger in the order in which the effects happened.
	Effects(tb testing.TB) []Effect
	// Fail makes the next request meet a fault; it is forgotten then.
	Fail(tb testing.TB, fault Fault)
	// Stop takes the peer away: connections are refused. Start brings it back with
	// its ledger.
	Stop(tb testing.TB)
	Start(tb testing.TB)
}

// SinkFixture describes a sink and its peer to the suite. The zero value of each
// feature is what a perfect sink has.
type SinkFixture struct {
	// Peer starts a peer; it ends with tb.
	Peer func(tb testing.TB) Peer
	// Event makes the n-th valid event of a key; its ID differs for each key and n.
	Event func(key string, n int) pipeline.Event
	// NoLookup: the sink is no pipeline.Lookuper; events in doubt wait for a person.
	NoLookup bool
	// NotIdempotent: the same event written twice has two effects.
	NotIdempotent bool
	// Settles: the sink is a pipeline.Settler.
	Settles bool
	// NeverRefuses: the peer takes any content.
	NeverRefuses bool
	// NeverUnavailable: the peer has no such answer.
	NeverUnavailable bool
	// Patience bounds each wait. Zero: 15 s.
	Patience time.Duration
	// Goroutines are options for the leak check, for what the test double leaves behind.
	Goroutines []goleak.Option
}

// Sink runs the conformance suite of sinks. The caller must not be parallel.
func Sink(t *testing.T, f SinkFixture) {
	t.Helper()
	for _, c := range sinkChecks() {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, f)
		})
	}
}

func sinkChecks() []check[SinkFixture] {
	return []check[SinkFixture]{
		{"the declared features are those of the sink", checkSinkFeatures},
		{"events of a key have their effects in order", checkSinkOrder},
		{"the same event twice", checkTwice},
		{"a refused event is a Reject without effect", checkRefused},
		{"an unavailable peer is NotExecuted and may be tried again", checkUnavailable},
		{"a peer that is away is NotExecuted and may be tried again", checkPeerAway},
		{"an answer that never comes is in doubt", checkDoubt},
		{"a look-up of what never happened finds nothing", checkLookupNothing},
		{"cancel ends a write within a second and leaves it in doubt", checkSinkCancel},
	}
}

func (f SinkFixture) patience() time.Duration {
	if f.Patience > 0 {
		return f.Patience
	}
	return 15 * time.Second
}

func sinkBench(tb testing.TB, f SinkFixture) (Peer, pipeline.Sink, context.Context) {
	tb.Helper()
	p := f.Peer(tb)
	watchLeaks(tb, f.Goroutines)
	ctx, cancel := context.WithTimeout(context.Background(), f.patience())
	tb.Cleanup(cancel)
	return p, p.Sink(tb), ctx
}

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

// NewEvent makes an event whose ID is its key and number, for fixtures that need
// no protobuf message.
func NewEvent(key string, n int) pipeline.Event {
	return pipeline.Event{
		ID: fmt.Sprintf("%s-%04d", key, n), Type: "ProductionOrderEvent", Key: key,
		At: beginAt().Add(time.Duration(n) * time.Second), Body: fmt.Appendf(nil, "%s %d", key, n),
	}
}
