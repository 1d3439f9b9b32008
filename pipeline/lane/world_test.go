package lane

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

const (
	testTimeout = 50 * time.Millisecond
	testSettle  = 150 * time.Millisecond
	production  = "event.production.v1"
)

func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "25") // each runs a broker and real time
	goleak.VerifyTestMain(m)
}

// world is a broker with the topics of one sink, and the events that were written.
type world struct {
	t      testing.TB
	c      *kafka.Client
	parts  int
	events []pipeline.Event
}

type cleaner interface{ Cleanup(func()) }

func newWorld(t testing.TB, embedded bool, parts int) *world {
	t.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	c, err := kafka.Open(kafka.Config{Brokers: k.ListenAddrs(), Namespace: "ns", Partitions: parts, Embedded: embedded, Now: time.Now, Log: testLog()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.EnsureTopics(within(t, 20*time.Second), kafka.Topics("ns", parts, map[string][]string{"erp": {production}})); err != nil {
		t.Fatal(err)
	}
	return &world{t: t, c: c, parts: parts}
}

func within(t cleaner, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func testLog() *slog.Logger {
	if os.Getenv("LANE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

// emit writes events; their ids are key/number, numbers rise within a key.
func (w *world) emit(keys ...string) {
	w.t.Helper()
	var recs []kafka.Record
	for _, key := range keys {
		e := pipeline.Event{ID: fmt.Sprintf("%s/%d", key, len(w.events)), Type: "ProductionOrderEvent", Key: key, At: time.Unix(1_770_000_000, 0), Body: []byte(fmt.Sprintf("\x12\x03%03d", len(w.events)))}
		w.events = append(w.events, e)
		recs = append(recs, w.c.EventRecord(e, "/x"))
	}
	w.produce(recs...)
}

func (w *world) produce(recs ...kafka.Record) {
	w.t.Helper()
	if _, err := w.c.NewProducer(kafka.ProducerOptions{}).Produce(within(w.t, 20*time.Second), recs); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) options(change func(*Options)) Options {
	o := Options{
		Sink: "erp", Events: []string{production}, Client: w.c, Log: testLog(), Now: time.Now, Timeout: testTimeout,
		Settle: testSettle, RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond, commitEvery: 5 * time.Millisecond,
	}
	if change != nil {
		change(&o)
	}
	return o
}

// running is a Run under way.
type running struct {
	w     *world
	stop  context.CancelFunc
	ended chan error
	mu    sync.Mutex
	count map[string]float64
	state []pipeline.ComponentState
	held  func() []*inboxv1.HeldEffect
}

func (w *world) start(s pipeline.Sink, change func(*Options)) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{w: w, stop: cancel, ended: make(chan error, 1), count: map[string]float64{}}
	ready := make(chan struct{})
	o := w.options(func(o *Options) {
		o.Held = func(f func() []*inboxv1.HeldEffect) { r.held = f; close(ready) }
		o.Count = func(name string, n float64) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.count[name] += n
		}
		o.Report = func(s pipeline.Status) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.state = append(r.state, s.State)
		}
		if change != nil {
			change(o)
		}
	})
	go func() { r.ended <- Run(ctx, s, o) }()
	<-ready
	return r
}

// end stops the run and fails when that takes longer than a second.
func (r *running) end() {
	r.w.t.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		if err != nil {
			r.w.t.Errorf("run ended with %v", err)
		}
	case <-time.After(3 * time.Second):
		r.w.t.Error("run did not end")
	}
}

func (r *running) counted(name string) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[name]
}

// committed reports whether the group's offsets are at the end of every partition.
func (w *world) committed() bool {
	for p := range int32(w.parts) {
		start, end, err := w.c.Offsets(within(w.t, 10*time.Second), w.c.Topic(production), p)
		if err != nil {
			w.t.Fatal(err)
		}
		n, _, err := w.c.CommittedOffset(within(w.t, 10*time.Second), "ns.deliver.erp", w.c.Topic(production), p)
		if err != nil {
			w.t.Fatal(err)
		}
		if end > start && n != end {
			return false
		}
	}
	return true
}

// await polls a condition.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-end:
			t.Fatalf("waited in vain until %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// survive runs the sink until everything is committed, with the crashes one after the other.
func (w *world) survive(s pipeline.Sink, crashes []*crasher, change func(*Options)) {
	w.t.Helper()
	for _, c := range append(crashes, nil) {
		r := w.start(s, func(o *Options) {
			if c != nil {
				o.point = c.point
			}
			if change != nil {
				change(o)
			}
		})
		over := false
		await(w.t, "everything is committed", func() bool {
			select {
			case err := <-r.ended:
				if !errors.Is(err, errCrash) {
					w.t.Fatalf("run ended with %v", err)
				}
				r.ended <- nil
				over = true
			default:
				if c != nil && c.isDead() {
					return false // the end of the run is coming
				}
			}
			return over || w.committed()
		})
		r.end()
		if !over {
			return // the crash's point was not reached in time
		}
	}
}

func (c *crasher) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// ends are the states in which events end that have no effect.
type ends map[string]inboxv1.EffectState

// faults compares the ledger with what was written: one effect each (none for those that
// end otherwise), in order per key.
func (w *world) faults(ledger []string, others ends) []string {
	var out []string
	seen := map[string]int{}
	last := map[string]int{}
	for _, id := range ledger {
		seen[id]++
		key, n, _ := strings.Cut(id, "/")
		var at int
		_, _ = fmt.Sscan(n, &at)
		if before, ok := last[key]; ok && at <= before {
			out = append(out, fmt.Sprintf("%s after number %d", id, before))
		}
		last[key] = at
	}
	for _, e := range w.events {
		want := 1
		if _, ok := others[e.ID]; ok {
			want = 0
		}
		if seen[e.ID] != want {
			out = append(out, fmt.Sprintf("%s has %d effects, want %d", e.ID, seen[e.ID], want))
		}
	}
	return out
}

// receiptsOf returns the newest receipt of each effect.
func (w *world) receiptsOf() map[string]*inboxv1.EffectRecord {
	w.t.Helper()
	out := map[string]*inboxv1.EffectRecord{}
	for p := range int32(w.parts) {
		w.readAll(kafka.ReceiptTopic("erp", production), p, func(r kafka.Record) {
			m := &inboxv1.EffectRecord{}
			if err := proto.Unmarshal(r.Value, m); err != nil {
				w.t.Fatal(err)
			}
			if r.Header(decisionHeader) == nil {
				out[string(r.Key)] = m
			}
		})
	}
	return out
}

func (w *world) readAll(suffix string, p int32, fn func(kafka.Record)) {
	w.t.Helper()
	if _, err := w.c.ReadAll(within(w.t, 20*time.Second), w.c.Topic(suffix), p, 0, func(r kafka.Record) error { fn(r); return nil }); err != nil {
		w.t.Fatal(err)
	}
}
