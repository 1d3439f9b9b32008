package lane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// gate is a sink whose requests wait until they are let through.
type gate struct {
	*erp
	open chan struct{}
	busy atomic.Int64
}

func (g *gate) Write(ctx context.Context, events []pipeline.Event) ([]pipeline.Receipt, error) {
	g.busy.Add(1)
	defer g.busy.Add(-1)
	select {
	case <-g.open:
		return g.erp.Write(ctx, events)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestLanesRunBesideEachOtherAndOneEventOfALaneAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, 2)
	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("k%d", i%10))
	}
	w.emit(keys...)
	g := &gate{erp: newERP(func(string, int) answer { return books }), open: make(chan struct{})}
	r := w.start(g, func(o *Options) { o.MaxLanes, o.Timeout = 4, 20*time.Second })
	await(t, "four requests are under way", func() bool { return g.busy.Load() == 4 })
	close(g.open)
	await(t, "everything is committed", w.committed)
	r.end()
	if g.peak > 4 {
		t.Errorf("%d requests at once, 4 are allowed", g.peak)
	}
	if bad := w.faults(g.effects(), nil); bad != nil {
		t.Errorf("faults: %v", bad)
	}
}

// R1: a rejected event goes to the dead letters, with its content and its reason, and the lane goes on.
func TestARejectedEventBecomesADeadLetterAndTheLaneGoesOn(t *testing.T) {
	t.Parallel()
	for _, embedded := range []bool{false, true} {
		w := newWorld(t, embedded, 1)
		w.emit("a", "a")
		w.produce(kafka.Record{Topic: "ns." + production, Partition: 0, Key: []byte("a"), Value: []byte("no event")})
		w.emit("a")
		e := newERP(first("a/0", rejects))
		w.survive(withLookup{e}, nil, nil)
		if bad := w.faults(e.effects(), ends{"a/0": rejected}); bad != nil {
			t.Errorf("faults: %v", bad)
		}
		var letters []*inboxv1.DeadLetter
		w.readAll("dlq.erp.v1", 0, func(r kafka.Record) {
			m := &inboxv1.DeadLetter{}
			if err := proto.Unmarshal(r.Value, m); err != nil {
				t.Fatal(err)
			}
			letters = append(letters, m)
		})
		if len(letters) != 2 {
			t.Fatalf("%d dead letters, want 2", len(letters))
		}
		if l := letters[0]; l.GetCode() != "HTTP_422" || l.GetReason() != "no such order" || string(l.GetBody()) != string(w.events[0].Body) || l.GetCauseOffset() != 0 {
			t.Errorf("dead letter: %v", l)
		}
		if l := letters[1]; l.GetCode() != "EVENT_UNREADABLE" || string(l.GetBody()) != "no event" {
			t.Errorf("dead letter: %v", l)
		}
	}
}

// R11: events of back-fill jobs are skipped, and what a sink says it does not take gets no INTENT.
func TestWhatIsNotTakenIsSkippedWithoutARequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, 1)
	w.produce(w.c.EventRecord(pipeline.Event{ID: "old", Type: "ProductionOrderEvent", Key: "a", At: time.Unix(1, 0), Historical: true}, "/x"))
	w.produce(w.c.EventRecord(pipeline.Event{ID: "other", Type: "UnitEvent", Key: "a", At: time.Unix(1, 0)}, "/x"))
	w.emit("a")
	e := newERP(func(string, int) answer { return books })
	w.survive(choosy{withLookup{e}}, nil, nil)
	if got := e.effects(); !slices.Equal(got, []string{"a/0"}) {
		t.Errorf("effects %v", got)
	}
	rs := w.receiptsOf()
	for _, id := range []string{"old", "other"} {
		if r := rs[id]; r.GetState() != skipped || r.GetAttempt() != 0 {
			t.Errorf("receipt of %s: %v", id, r)
		}
	}
}

type choosy struct{ withLookup }

// Takes implements Taker.
func (choosy) Takes(e pipeline.Event) bool { return e.Type == "ProductionOrderEvent" }

// A repeated event is not delivered again, and the same id with another content is never passed over in silence.
func TestARepeatIsDroppedAndAnotherContentUnderTheSameIDIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true, 1)
	w.emit("a", "a")
	e := newERP(func(string, int) answer { return books })
	r := w.start(withLookup{e}, nil)
	await(t, "both are committed", w.committed)
	w.produce(w.c.EventRecord(w.events[0], "/x"))
	await(t, "the repeat is dropped", func() bool { return r.counted("repeats") == 1 && w.committed() })
	changed := w.events[0]
	changed.Body = []byte("\x12\x03999")
	w.produce(w.c.EventRecord(changed, "/x"))
	await(t, "the other content is held", func() bool { return len(r.held()) == 1 })
	r.end()
	r = w.start(withLookup{e}, nil)
	await(t, "and after a restart, too", func() bool { return len(r.held()) == 1 })
	id := r.held()[0].GetEffectId()
	if id == "a/0" || w.receiptsOf()["a/0"].GetState() != done {
		t.Errorf("held %s: the first receipt must stay", id)
	}
	decide(t, w, id, Decision{Outcome: rejected})
	await(t, "the lane goes on", w.committed)
	r.end()
	if bad := w.faults(e.effects(), nil); bad != nil {
		t.Errorf("faults: %v", bad)
	}
}

func TestTheDigestLeavesOutProvenanceOnly(t *testing.T) {
	t.Parallel()
	body := func(mapping, event, order string) []byte {
		b, err := proto.Marshal(&eventv1.ProductionOrderEvent{
			Header:  &eventv1.EventHeader{EventId: event, Sequence: 3, Provenance: &eventv1.Provenance{MappingDigest: mapping}, Labels: map[string]string{"k": "v"}},
			OrderId: order,
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := digest(body("v1", "e", "4711"))
	if digest(body("v2", "e", "4711")) != want {
		t.Error("another mapping version gives another digest")
	}
	for _, b := range [][]byte{body("v1", "f", "4711"), body("v1", "e", "4712"), []byte("no message"), nil} {
		if digest(b) == want {
			t.Errorf("%q has the same digest", b)
		}
	}
}

// moody is a sink that is away while down is set.
type moody struct {
	*erp
	down  atomic.Bool
	tried atomic.Int64
	after int
}

func (m *moody) Write(ctx context.Context, events []pipeline.Event) ([]pipeline.Receipt, error) {
	if m.down.Load() {
		m.tried.Add(1)
		return nil, &pipeline.NotExecuted{Err: errors.New("503"), RetryAfter: m.after}
	}
	return m.erp.Write(ctx, events)
}

func TestASinkThatIsAwayIsProbedByOneLaneAndThenGetsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, 1)
	var keys []string
	for i := range 30 {
		keys = append(keys, fmt.Sprintf("k%d", i))
	}
	w.emit(keys...)
	m := &moody{erp: newERP(func(string, int) answer { return books })}
	m.down.Store(true)
	r := w.start(m, func(o *Options) { o.RetryMin, o.RetryMax = 20*time.Millisecond, 40*time.Millisecond })
	state := func(s pipeline.ComponentState) func() bool {
		return func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.state) > 0 && r.state[len(r.state)-1] == s
		}
	}
	await(t, "the sink is reported down", state(pipeline.Down))
	// Ten pauses of 10 to 40 ms: one probe each, where 30 lanes alone would try hundreds of times.
	from := m.tried.Load()
	await(t, "some probes were made", func() bool { return m.tried.Load() >= from+5 })
	if n := m.tried.Load(); n > from+20 {
		t.Errorf("%d requests while the sink is away", n)
	}
	m.down.Store(false)
	await(t, "everything is committed", w.committed)
	await(t, "the sink is reported running", state(pipeline.Running))
	r.end()
	if bad := w.faults(m.effects(), nil); bad != nil {
		t.Errorf("faults: %v", bad)
	}
}

func TestThePeersWishWhenToTryAgainIsHonoured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, 1)
	w.emit("a")
	m := &moody{erp: newERP(func(string, int) answer { return books }), after: 1}
	m.down.Store(true)
	began := time.Now()
	r := w.start(m, nil)
	await(t, "the first request is refused", func() bool { return m.tried.Load() == 1 })
	m.down.Store(false)
	await(t, "it is committed", w.committed)
	if d := time.Since(began); d < time.Second {
		t.Errorf("tried again after %s, the peer asked for 1 s", d)
	}
	r.end()
}

// A request that is under way when the process is told to end may finish: no effect is left in doubt.
func TestARequestUnderWayFinishesWhenTheRunEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, 1)
	w.emit("a")
	g := &gate{erp: newERP(func(string, int) answer { return books }), open: make(chan struct{})}
	r := w.start(g, func(o *Options) { o.Timeout = 20 * time.Second })
	await(t, "the request is under way", func() bool { return g.busy.Load() == 1 })
	r.stop()
	close(g.open)
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
	if s := w.receiptsOf()["a/0"].GetState(); s != done {
		t.Errorf("receipt %s", s)
	}
	if !w.committed() {
		t.Error("the offset is not committed")
	}
}

func TestASinkThatNeverAnswersDoesNotDelayTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, 1)
	w.emit("a")
	g := &gate{erp: newERP(func(string, int) answer { return books }), open: make(chan struct{})}
	r := w.start(g, func(o *Options) { o.Timeout = 20 * time.Second })
	await(t, "the request is under way", func() bool { return g.busy.Load() == 1 })
	began := time.Now()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > 1500*time.Millisecond {
		t.Errorf("it took %s to end", d)
	}
	if s := w.receiptsOf()["a/0"].GetState(); s != intent {
		t.Errorf("receipt %s: the effect is in doubt", s)
	}
}
