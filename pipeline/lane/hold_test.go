package lane

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// first answers the first try of one event so, and books everything else.
func first(id string, a answer) func(string, int) answer {
	return func(x string, try int) answer {
		if x == id && try == 1 {
			return a
		}
		return books
	}
}

// R1: without look-up an effect in doubt waits for a person; its lane alone stands still, over a restart, too.
func TestWithoutLookUpAnEffectInDoubtHoldsItsLaneForAPerson(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer  answer
		outcome Decision
		want    []string // effects of lane a, in order
		last    string
	}{
		"a person says that it is there":     {breaksAfter, Decision{Outcome: done}, []string{"a/0", "a/2"}, "EFFECT_STATE_HELD"},
		"a person says that it is not there": {breaksFirst, Decision{Outcome: notExecuted}, []string{"a/0", "a/2"}, "EFFECT_STATE_DONE"},
		"a person gives it up":               {breaksFirst, Decision{Outcome: rejected}, []string{"a/2"}, "EFFECT_STATE_HELD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false, 1)
			w.emit("a", "b", "a")
			e := newERP(first("a/0", tc.answer))
			r := w.start(e, nil)
			await(t, "lane a is held", func() bool { return len(r.held()) == 1 && len(e.effects()) > 0 && r.counted("delivered") == 1 })
			r.end()
			r = w.start(e, nil)
			await(t, "lane a is held after the restart", func() bool { return len(r.held()) == 1 && r.held()[0].GetWaiting() == 1 })
			h := r.held()[0]
			if h.GetKey() != "a" || h.GetEffectId() != "a/0" || h.GetReason() == "" {
				t.Errorf("held: %v", h)
			}
			if w.committed() {
				t.Error("the offset was committed over a held event")
			}
			d := tc.outcome
			d.Sink, d.Events, d.EffectID, d.By, d.Why, d.At = "erp", production, "a/0", "Kim", "looked in the ERP", time.Now()
			if err := Decide(within(t, 10*time.Second), w.c, d); err != nil {
				t.Fatal(err)
			}
			await(t, "everything is committed", w.committed)
			if got := len(r.held()); got != 0 {
				t.Errorf("%d effects are held", got)
			}
			r.end()
			got := slices.DeleteFunc(e.effects(), func(id string) bool { return id[0] != 'a' })
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			if s := w.receiptsOf()["a/0"].GetState().String(); s != tc.last {
				t.Errorf("last receipt of the owner is %s, want %s", s, tc.last)
			}
			// A restart does not bring the decision back into question.
			r = w.start(e, nil)
			w.emit("a")
			await(t, "the next event is delivered", func() bool { return slices.Contains(e.effects(), "a/3") && w.committed() })
			r.end()
		})
	}
}

func TestAnEffectWithAnotherContentInTheSinkIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false, 1)
	w.emit("a")
	r := w.start(withLookup{newERP(first("a/0", clashes))}, nil)
	await(t, "the lane is held", func() bool { return len(r.held()) == 1 })
	r.end()
	if !slices.Contains(r.state, pipeline.Degraded) {
		t.Errorf("states %v: a person should be told", r.state)
	}
}

// R2: a lane that is held for long moves to the hold topic, in order and durably, over crashes; it does not pin the
// commit, and when a person has decided everything is delivered in order.
func TestALongHeldLaneMovesAsideAndComesBackInOrder(t *testing.T) {
	t.Parallel()
	points := []string{"", "before EFFECT_STATE_HELD", "after EFFECT_STATE_HELD"}
	for _, embedded := range []bool{false, true} {
		for _, at := range points {
			for n := 2; n <= 6; n += 2 {
				t.Run(fmt.Sprintf("embedded %v, crash %s %d", embedded, at, n), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, embedded, 1)
					w.emit("a", "b", "a", "a", "b", "a", "a", "b")
					e := newERP(first("a/0", breaksFirst))
					few := func(o *Options) { o.HoldEvents = 3 }
					w.survive(e, []*crasher{newCrasher(at, n)}, few) // all committed: the lane has moved aside
					if got := w.heldOnes(); !slices.Equal(got, []string{"a/0", "a/2", "a/3", "a/5", "a/6"}) {
						t.Fatalf("hold topic: %v", got)
					}
					r := w.start(e, few)
					w.emit("b", "a")
					await(t, "later events of the lane have moved, too", func() bool {
						return w.committed() && len(r.held()) == 1 && r.held()[0].GetWaiting() == 5
					})
					decide(t, w, "a/0", Decision{Outcome: notExecuted})
					await(t, "all have their effect", func() bool { return len(e.effects()) == len(w.events) })
					w.emit("a", "b")
					await(t, "the lane is open again", func() bool { return len(e.effects()) == len(w.events) && w.committed() })
					r.end()
					if bad := w.faults(e.effects(), nil); bad != nil {
						t.Errorf("faults: %v\nledger: %v", bad, e.effects())
					}
					w.endedAs(t, nil)
				})
			}
		}
	}
}

// R2: crashes while a moved lane is delivered, and a second event of it that must wait for a person.
func TestAMovedLaneIsDrainedOverCrashesAndSecondHolds(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"before write", "after write", "after EFFECT_STATE_INTENT", "before EFFECT_STATE_DONE", "after EFFECT_STATE_DONE"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, true, 1)
			w.emit("a", "a", "a", "a", "a")
			e := newERP(func(id string, try int) answer {
				if try == 1 && (id == "a/0" || id == "a/2") {
					return breaksAfter
				}
				return books
			})
			few := func(o *Options) { o.HoldEvents = 2 }
			w.survive(e, nil, few)
			decide(t, w, "a/0", Decision{Outcome: done}) // while nothing runs
			for i := 0; ; i++ {
				c := newCrasher(at, 1)
				if i > 2 {
					c.at = ""
				}
				r := w.start(e, func(o *Options) { o.HoldEvents, o.point = 2, c.point })
				over := false
				await(t, "the drain ends", func() bool {
					if hs := r.held(); len(hs) == 1 {
						decide(t, w, hs[0].GetEffectId(), Decision{Outcome: done})
						await(t, "the decision is taken", func() bool { return len(r.held()) == 0 })
					}
					if c.isDead() {
						return true
					}
					over = w.allDone()
					return over
				})
				if !over {
					if err := <-r.ended; !errors.Is(err, errCrash) {
						t.Fatal(err)
					}
					continue
				}
				r.stop()
				if err := <-r.ended; err != nil && !errors.Is(err, errCrash) { // the crash may come at the very end
					t.Fatal(err)
				}
				break
			}
			// Without look-up a crash between sending and receipt needs a person, who here always says that it is there;
			// where the crash came before the effect, it was not.
			lost := 0
			if at == "before write" || at == "after EFFECT_STATE_INTENT" {
				lost = 3
			}
			if got := len(e.effects()); got < 5-lost || got > 5 {
				t.Errorf("%d effects: %v", got, e.effects())
			}
			if !slices.IsSorted(e.effects()) {
				t.Errorf("order: %v", e.effects())
			}
		})
	}
}

func (w *world) allDone() bool {
	rs := w.receiptsOf()
	for _, e := range w.events {
		if s := rs[e.ID].GetState(); s != done && !w.decided(e.ID) {
			return false
		}
	}
	return true
}

// decided reports whether a person's decision is the last word about an effect.
func (w *world) decided(id string) bool {
	last := false
	w.readAll(kafka.ReceiptTopic("erp", production), 0, func(r kafka.Record) {
		switch string(r.Key) {
		case id + decisionSuffix:
			last = true
		case id:
			last = false
		}
	})
	return last
}

// heldOnes returns the events of the hold topic, each once: on the embedded broker a crash may repeat one.
func (w *world) heldOnes() []string {
	var out []string
	w.readAll(kafka.HoldTopic("erp"), 0, func(r kafka.Record) {
		if id := string(r.Header("ce_id")); !slices.Contains(out, id) {
			out = append(out, id)
		}
	})
	return out
}

func decide(t testing.TB, w *world, id string, d Decision) {
	t.Helper()
	d.Sink, d.Events, d.EffectID, d.By, d.Why, d.At = "erp", production, id, "Kim", "looked in the ERP", time.Now()
	if err := Decide(within(t, 10*time.Second), w.c, d); err != nil {
		t.Fatal(err)
	}
}
