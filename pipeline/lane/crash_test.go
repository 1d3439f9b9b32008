package lane

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/plantloom/plantloom/pipeline"
)

// points are all the places between two steps of a delivery.
func points() []string {
	out := []string{"before write", "after write", "before look-up"}
	for _, s := range []fmt.Stringer{intent, done, rejected, notExecuted, skipped} {
		out = append(out, "before "+s.String(), "after "+s.String())
	}
	return out
}

// R1, R2: a crash between any two steps, with every kind of answer before and behind it: one effect each, in order.
func TestACrashBetweenAnyTwoStepsLeavesOneEffectEachInOrder(t *testing.T) {
	t.Parallel()
	for _, embedded := range []bool{false, true} {
		for _, idempotent := range []bool{false, true} {
			for _, at := range points() {
				t.Run(fmt.Sprintf("embedded %v, idempotent %v, %s", embedded, idempotent, at), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, embedded, 2)
					w.emit("a", "b", "a", "c", "b", "a", "b", "c", "a")
					answers := map[string]answer{"a/2": refuses, "b/1": hangs, "c/3": late, "b/4": rejects, "a/5": breaksFirst, "b/6": breaksAfter, "c/7": ignores}
					others := ends{"b/4": rejected, "c/7": skipped}
					e := newERP(func(id string, try int) answer {
						if _, ok := others[id]; ok || try == 1 {
							return answers[id]
						}
						return books
					})
					e.idempotent = idempotent
					crashes := []*crasher{newCrasher(at, 1), newCrasher(at, 1)}
					w.survive(withLookup{e}, crashes, nil)
					if !crashes[0].isDead() {
						t.Error("the point was not passed")
					}
					if bad := w.faults(e.effects(), others); bad != nil {
						t.Errorf("faults: %v\nledger: %v", bad, e.effects())
					}
					w.endedAs(t, others)
				})
			}
		}
	}
}

// endedAs checks the last receipt of every event.
func (w *world) endedAs(t testing.TB, others ends) {
	t.Helper()
	rs := w.receiptsOf()
	for _, e := range w.events {
		want, ok := others[e.ID]
		if !ok {
			want = done
		}
		if got := rs[e.ID].GetState(); got != want {
			t.Errorf("receipt of %s is %s, want %s", e.ID, got, want)
		}
	}
}

// R1, R2: random events, answers and crashes.
func TestRandomCrashesLeaveOneEffectEachInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, e, crashes, others := scenario(t, rt)
		w.survive(withLookup{e}, crashes, nil)
		if bad := w.faults(e.effects(), others); bad != nil {
			rt.Fatalf("faults: %v\nledger: %v", bad, e.effects())
		}
	})
}

func scenario(t testing.TB, rt *rapid.T) (*world, *erp, []*crasher, ends) {
	w := newWorld(t, rapid.Bool().Draw(rt, "embedded"), 2)
	w.emit(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), 3, 20).Draw(rt, "keys")...)
	weights := []answer{books, books, books, books, books, books, books, books, refuses, refuses, rejects, ignores, breaksFirst, breaksAfter, hangs, late}
	plan, others := map[string]answer{}, ends{}
	for i, ev := range w.events {
		a := rapid.SampledFrom(weights).Draw(rt, fmt.Sprintf("answer %d", i))
		plan[ev.ID] = a
		switch a {
		case rejects:
			others[ev.ID] = rejected
		case ignores:
			others[ev.ID] = skipped
		}
	}
	e := newERP(func(id string, try int) answer {
		if _, ok := others[id]; ok || try == 1 {
			return plan[id]
		}
		return books
	})
	e.idempotent = rapid.Bool().Draw(rt, "idempotent")
	var crashes []*crasher
	for i := range rapid.IntRange(0, 4).Draw(rt, "crashes") {
		crashes = append(crashes, newCrasher(rapid.SampledFrom(points()).Draw(rt, fmt.Sprintf("point %d", i)), rapid.IntRange(1, 6).Draw(rt, fmt.Sprintf("passing %d", i))))
	}
	return w, e, crashes, others
}

// The test of the test: what R1 and R2 forbid is found by the same checks, as a loss and as a double effect.
func TestTheChecksFindWhatTheNaiveWayLosesAndDoubles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer answer
		at     string
		want   string
	}{
		"an answer that is lost doubles the effect": {breaksAfter, "", "a/1 has 2 effects, want 1"},
		"a crash before the request loses it":       {books, "before write", "a/1 has 0 effects, want 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false, 1)
			w.emit("a", "a", "a")
			e := newERP(func(id string, try int) answer {
				if id == "a/1" && try == 1 {
					return tc.answer
				}
				return books
			})
			w.survive(e, []*crasher{newCrasher(tc.at, 2)}, func(o *Options) { o.Naive = true })
			r := w.start(e, func(o *Options) { o.Naive = true })
			await(t, "the last event has its effect", func() bool { return slices.Contains(e.effects(), "a/2") })
			r.end()
			if bad := w.faults(e.effects(), nil); !slices.Contains(bad, tc.want) {
				t.Errorf("faults %v, want %q among them", bad, tc.want)
			}
		})
	}
}

// R2: two owners at once, as after a partition of the network: the older one gets no permit.
func TestAFencedOwnerSendsNothingMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, 1)
	e := newERP(func(string, int) answer { return books })
	first := w.start(withLookup{e}, nil)
	w.emit("a")
	await(t, "the first event is committed", w.committed)
	second := w.start(withLookup{e}, nil)
	emitted := 1
	await(t, "the older owner ends", func() bool {
		select {
		case err := <-first.ended:
			if err == nil {
				t.Error("the fenced owner ended without saying so")
			}
			return true
		default: // it notices when it next asks for a permit, once the newer one has begun
			w.emit("a", "b", "a")
			emitted += 3
			return false
		}
	})
	await(t, "the others are committed", func() bool { return len(e.effects()) == emitted && w.committed() })
	second.end()
	if bad := w.faults(e.effects(), nil); bad != nil {
		t.Errorf("faults: %v", bad)
	}
}

var (
	_ pipeline.Sink     = (*erp)(nil)
	_ pipeline.Lookuper = withLookup{}
)
