package lane

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// serve delivers a lane's events one after the other until there is none. It is the lane's only goroutine.
func (t *task) serve(l *line) error {
	for {
		t.mu.Lock()
		if l.release {
			l.release = false
			t.mu.Unlock()
			if err := t.drain(l); err != nil {
				return err
			}
			continue
		}
		if len(l.queue) == 0 {
			l.running = false
			if !l.moved {
				delete(t.lanes, l.name)
			}
			t.mu.Unlock()
			return nil
		}
		w := l.queue[0]
		t.mu.Unlock()
		if err := t.deliver(l, w); err != nil {
			return err
		}
		t.finish(l, w)
	}
}

// finish takes a delivered event off its lane.
func (t *task) finish(l *line, w *work) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.queue[0] = nil
	l.queue = l.queue[1:]
	t.bytes -= len(w.rec.Value)
	t.win.done(w.rec.Offset, w.life)
	signal(t.room)
}

// errBlocked says that an event of the hold topic must wait for a person.
var errBlocked = errors.New("waits for a person")

// deliver takes an event through its states until nothing is left to do for it. Every step is durable before the next
// begins, so a restart goes on where the receipts end.
func (t *task) deliver(l *line, w *work) error {
	t.checkContent(w)
	for first := true; ; first = false {
		f := t.look(w.id)
		if w.drained && f.moved == movedBehind && f.state == onHold {
			f.state, f.note = unknown, "" // its turn has come
		}
		var err error
		switch {
		case f.finished():
			if first && !w.drained {
				t.d.o.Count("repeats", 1)
			}
			return nil
		case w.bad != nil:
			err = t.reject(w, f, "EVENT_UNREADABLE", w.bad)
		case f.state == unknown && !w.conflict && t.skips(w):
			f.state, f.note = skipped, "not taken by this sink"
			t.d.o.Count("skipped", 1)
			err = t.record(t.hard, w, f, "")
		case l.moved && !w.drained:
			return t.moveBehind(l, w, f)
		case f.state == onHold && w.drained:
			return errBlocked
		case f.state == onHold:
			err = t.wait(l, w, f)
		case f.state == intent:
			err = t.settle(l, w, f)
		case f.state == unknown && w.conflict:
			err = t.toHold(w, f, "the same effect id has come with another content than the one that was delivered; compare both, the event's mapping or its id is wrong")
		default:
			err = t.attempt(l, w, f)
		}
		if err != nil {
			return err
		}
	}
}

// look returns a copy of what is known about an effect.
func (t *task) look(id string) effect {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.effects[id]; f != nil {
		return *f
	}
	return effect{}
}

// checkContent gives an effect id that comes again with another content a name of its own, so that neither the first
// receipt is lost nor the difference goes unseen.
func (t *task) checkContent(w *work) {
	f := t.look(w.id)
	if w.bad == nil && !w.conflict && f.state != unknown && !f.sameContent(w) {
		w.id, w.conflict = w.clash(), true
	}
}

func (t *task) skips(w *work) bool {
	if w.event.Historical && !t.d.o.Historical { // R11
		return true
	}
	taker, ok := t.d.sink.(pipeline.Taker)
	return ok && !taker.Takes(w.event)
}

// attempt sends the event once. The INTENT is durable before, so that a crash in between is seen (R2), and the request
// ends before the INTENT's deadline.
func (t *task) attempt(l *line, w *work, f effect) error {
	wait, err := t.request(l, func() (time.Duration, error) { return t.send(l, w, f) })
	if err != nil || wait == 0 {
		return err
	}
	return sleep(t.soft, wait)
}

// request calls f when the sink has a slot for a request and the breaker lets it through.
func (t *task) request(l *line, f func() (time.Duration, error)) (time.Duration, error) {
	free, err := t.d.slot(t.soft) // first: who waits for a slot would not see that the breaker has opened
	if err != nil {
		return 0, err
	}
	defer free()
	if err := t.d.breaker.enter(t.soft); err != nil {
		return 0, err
	}
	defer t.d.breaker.leave() // nothing, when the outcome has been told
	return f()
}

// send returns how long to wait before the next try, 0 when there is an outcome.
func (t *task) send(l *line, w *work, f effect) (time.Duration, error) {
	o := &t.d.o
	f.state, f.note, f.deadline = intent, "", o.Now().Add(o.Timeout)
	f.attempt++
	if err := t.record(t.hard, w, f, ""); err != nil {
		return 0, err
	}
	if err := t.crash("before write"); err != nil {
		return 0, err
	}
	left := f.deadline.Sub(o.Now())
	if left < o.Timeout/2 || t.soft.Err() != nil {
		// Committing took so long, or the process is told to end: the permit is given back unused.
		f.state, f.note = notExecuted, "not sent"
		return 0, t.record(t.hard, w, f, "")
	}
	ctx, cancel := context.WithTimeout(t.hard, left)
	receipts, err := t.d.sink.Write(ctx, []pipeline.Event{w.event})
	cancel()
	if cerr := t.crash("after write"); cerr != nil {
		return 0, cerr
	}
	if err == nil && len(receipts) == 1 {
		t.d.breaker.ok()
		return 0, t.delivered(w, f, receipts[0])
	}
	if err == nil {
		err = fmt.Errorf("the sink returned %d receipts for one event", len(receipts))
	}
	return t.failed(l, w, f, err)
}

func (t *task) delivered(w *work, f effect, r pipeline.Receipt) error {
	f.state, f.note = done, r.Note
	name := "delivered"
	if r.Skipped {
		f.state, name = skipped, "skipped"
	}
	if err := t.record(t.hard, w, f, r.Document); err != nil {
		return err
	}
	t.d.o.Count(name, 1)
	return nil
}

// failed draws the conclusion from a sink's error (R1).
func (t *task) failed(l *line, w *work, f effect, err error) (time.Duration, error) {
	var no *pipeline.Reject
	var not *pipeline.NotExecuted
	var other *pipeline.Conflict
	switch {
	case errors.As(err, &no):
		t.d.breaker.ok()
		return 0, t.reject(w, f, no.Code, no.Err)
	case errors.As(err, &not):
		w.tries++
		after := time.Duration(not.RetryAfter) * time.Second
		t.d.breaker.refuse(l.name, not.Err, after)
		t.d.o.Count("refused", 1)
		f.state, f.note = notExecuted, not.Err.Error()
		if err := t.record(t.hard, w, f, ""); err != nil {
			return 0, err
		}
		return max(t.backoff(w.tries), after), nil
	case errors.As(err, &other):
		return 0, t.toHold(w, f, "the sink already has this effect with another content: "+other.Err.Error())
	case t.soft.Err() != nil:
		return 0, t.soft.Err() // in doubt; the INTENT says so to the next owner
	}
	t.d.o.Count("in_doubt", 1)
	t.d.o.Log.Warn("an answer is missing; waiting until the sink must have finished, then looking up", "sink", t.d.o.Sink, "key", l.name, "effect", w.id, "attempt", f.attempt, "err", err)
	return 0, nil
}

// reject writes the dead letter and then, or together with it, the receipt; the lane goes on.
func (t *task) reject(w *work, f effect, code string, why error) error {
	f.state, f.note = rejected, why.Error()
	letter := t.d.o.Client.DeadLetterRecord(t.d.o.Sink, pipeline.DeadLetter{
		Stage: t.d.o.Sink, Code: code, Reason: why.Error(), Key: string(w.rec.Key), EventType: w.event.Type, Body: w.rec.Value,
		ContentType: string(w.rec.Header("content-type")), Details: map[string]string{"effect": w.id},
	}, kafka.CauseOf(w.rec))
	if err := t.record(t.hard, w, f, "", letter); err != nil {
		return err
	}
	t.d.o.Count("rejected", 1)
	return nil
}

func (t *task) backoff(tries int) time.Duration {
	return jitter(min(t.d.o.RetryMax, t.d.o.RetryMin<<min(tries-1, 16)))
}

// settle resolves an effect in doubt: it waits until the peer must have finished, and looks up (R1).
func (t *task) settle(l *line, w *work, f effect) error {
	lk, ok := t.d.sink.(pipeline.Lookuper)
	if err := sleep(t.soft, f.deadline.Add(t.d.o.Settle).Sub(t.d.o.Now())); err != nil {
		return err
	}
	if !ok {
		return t.toHold(w, f, "the answer to the request is missing and the sink has no look-up; check there whether it has the effect")
	}
	if err := t.crash("before look-up"); err != nil {
		return err
	}
	wait, err := t.request(l, func() (time.Duration, error) { return t.lookUp(l, lk, w, f) })
	if err != nil || wait == 0 {
		return err
	}
	return sleep(t.soft, wait)
}

func (t *task) lookUp(l *line, lk pipeline.Lookuper, w *work, f effect) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(t.hard, t.d.o.Timeout)
	r, found, err := lk.Lookup(ctx, w.event)
	cancel()
	var other *pipeline.Conflict
	switch {
	case errors.As(err, &other):
		return 0, t.toHold(w, f, "the sink already has this effect with another content: "+other.Err.Error())
	case t.soft.Err() != nil && err != nil:
		return 0, t.soft.Err()
	case err != nil:
		w.tries++
		t.d.breaker.refuse(l.name, err, 0)
		t.d.o.Log.Warn("the look-up failed; trying again, the effect stays in doubt", "sink", t.d.o.Sink, "key", l.name, "effect", w.id, "err", err)
		return t.backoff(w.tries), nil
	case found:
		t.d.breaker.ok()
		t.d.o.Count("found", 1)
		return 0, t.delivered(w, f, r)
	}
	t.d.breaker.ok()
	f.state, f.note = notExecuted, "the look-up found no effect"
	return 0, t.record(t.hard, w, f, "")
}
