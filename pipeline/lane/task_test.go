package lane

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

func TestMemoryIsBoundedWhileTheSinkStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, 1)
	var keys []string
	for i := range maxOpen + 1000 {
		keys = append(keys, fmt.Sprint("k", i%500))
	}
	w.emit(keys...)
	g := &gate{erp: newERP(func(string, int) answer { return books }), open: make(chan struct{})}
	o := w.options(func(o *Options) { o.Timeout, o.MaxLanes = 60*time.Second, 100 })
	o.defaults(g)
	d := newDelivery(g, o)
	task, err := d.openTask(within(t, 10*time.Second), production, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- task.run(ctx) }()
	open := func() (int, bool) {
		task.mu.Lock()
		defer task.mu.Unlock()
		return task.win.open, task.full()
	}
	await(t, "memory is full", func() bool { _, full := open(); return full })
	at := task.fetcher.Position()
	if err := sleep(ctx, 100*time.Millisecond); err != nil { // a fetcher that goes on would move in that time
		t.Fatal(err)
	}
	if n, _ := open(); n > maxOpen || task.fetcher.Position() != at {
		t.Errorf("%d events in memory, position %d after %d", n, task.fetcher.Position(), at)
	}
	close(g.open)
	await(t, "everything is committed", w.committed)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if bad := w.faults(g.effects(), nil); bad != nil {
		t.Errorf("%d faults, first %v", len(bad), bad[0])
	}
}

func TestAGapInTheLogIsCountedAndNothingIsDeliveredTwice(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*world) (counted, effects int){
		"retention overtook the sink": func(w *world) (int, int) {
			w.commit(0)
			if err := w.c.DeleteRecords(within(w.t, 10*time.Second), w.c.Topic(production), 0, 2); err != nil {
				w.t.Fatal(err)
			}
			return 1, 3
		},
		"the log was reset below the committed offset": func(w *world) (int, int) {
			w.commit(100)
			return 1, 5
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false, 1)
			w.emit("a", "b", "a", "b", "a")
			gaps, effects := prepare(w)
			e := newERP(func(string, int) answer { return books })
			for range 2 {
				r := w.start(withLookup{e}, nil)
				await(t, "the rest is delivered", func() bool { return len(e.effects()) == effects && w.committed() })
				if gaps > 0 && r.counted("gaps") != 1 {
					t.Errorf("%v gaps counted", r.counted("gaps"))
				}
				r.end()
				if gaps == 0 {
					break
				}
				w.commit(100) // once more, with receipts
				gaps = 1
			}
			if got := len(e.effects()); got != effects {
				t.Errorf("%d effects, want %d", got, effects)
			}
		})
	}
}

func (w *world) commit(offset int64) {
	w.t.Helper()
	if err := w.c.CommitOffset(within(w.t, 10*time.Second), "ns.deliver.erp", w.c.Topic(production), 0, offset); err != nil {
		w.t.Fatal(err)
	}
}

// R2: receipts live as long as the longest replay horizon, those of open effects longer.
func TestFinishedReceiptsAreRemovedWhenNoReplayCanReachThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, 1)
	w.emit("a", "b")
	e := newERP(first("b/1", breaksFirst))
	r := w.start(e, nil)
	await(t, "one is done and one is held", func() bool { return r.counted("delivered") == 1 && len(r.held()) == 1 })
	r.end()
	r = w.start(e, func(o *Options) {
		o.HoldFor = 100 * receiptsFor
		o.Now = func() time.Time { return time.Now().Add(receiptsFor + time.Hour) }
	})
	removed := func() map[string]bool {
		out := map[string]bool{}
		w.readAll(kafka.ReceiptTopic("erp", production), 0, func(r kafka.Record) { out[string(r.Key)] = r.Value == nil })
		return out
	}
	await(t, "the old receipt is removed", func() bool { return removed()["a/0"] })
	if removed()["b/1"] {
		t.Error("the receipt of an effect that waits for a person was removed")
	}
	r.end()
}

// The lowest offset whose predecessors are all done, against the obvious way to find it.
func TestTheWindowCommitsOnlyWhatIsDone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w window
		isDone := map[int64]bool{}
		var all []int64
		next := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			open := all[:0:0]
			for _, o := range all {
				if !isDone[o] {
					open = append(open, o)
				}
			}
			if len(open) == 0 || rapid.Bool().Draw(t, "admit") {
				next += rapid.Int64Range(0, 3).Draw(t, "gap")
				w.admit(next)
				all = append(all, next)
				next++
			} else {
				o := rapid.SampledFrom(open).Draw(t, "done")
				w.done(o, 0)
				isDone[o] = true
			}
			want := next
			count := 0
			for i := len(all) - 1; i >= 0; i-- {
				if !isDone[all[i]] {
					want = all[i]
					count++
				}
			}
			if w.low() != want || w.open != count {
				t.Fatalf("low %d, open %d; want %d, %d", w.low(), w.open, want, count)
			}
		}
	})
}
