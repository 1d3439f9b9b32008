package lane

import (
	"errors"
	"fmt"
	"time"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// holdTopic and the key tell whose events stand in the hold topic, which the event topics of a sink share.
const holdTopic = "plantloom-hold-topic"

// toHold records that a person must decide.
func (t *task) toHold(w *work, f effect, reason string) error {
	f.state, f.note = onHold, reason
	if w.drained {
		f.moved = movedHead
	}
	if err := t.record(t.hard, w, f, ""); err != nil {
		return err
	}
	t.d.o.Count("held", 1)
	t.d.o.Log.Error("a delivery waits for a person; its lane is stopped, all others go on", "sink", t.d.o.Sink, "key", w.lane(), "effect", w.id, "reason", reason)
	return nil
}

func (t *task) waitID(effect string) waitID { return waitID{t.topic, t.part, effect} }

// showHeld puts an effect on the list of what waits for a person.
func (t *task) showHeld(l *line, id string, f effect) {
	t.d.setHeld(t.waitID(id), &held{key: l.name, reason: f.note, since: f.at, waiting: func() int {
		t.mu.Lock()
		defer t.mu.Unlock()
		return max(len(l.queue)-1, 0) + l.behind
	}})
	t.mu.Lock()
	t.waiting++
	t.mu.Unlock()
	signal(t.watch)
}

func (t *task) hideHeld(id string) {
	t.d.clearHeld(t.waitID(id))
	t.mu.Lock()
	t.waiting--
	t.mu.Unlock()
}

// wait stops the lane until a person has decided, or until it moves aside (R2).
func (t *task) wait(l *line, w *work, f effect) error {
	t.showHeld(l, w.id, f)
	t.mu.Lock()
	l.held = true
	unsignal(l.decided)
	unsignal(l.move)
	if t.effect(w.id).state != onHold { // decided before the lane was listed as held
		signal(l.decided)
	}
	if len(l.queue) > t.d.o.HoldEvents {
		signal(l.move)
	}
	signal(t.room) // a full window can now be relieved
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		l.held = false
		t.mu.Unlock()
	}()
	long := time.NewTimer(f.at.Add(t.d.o.HoldFor).Sub(t.d.o.Now()))
	defer long.Stop()
	select {
	case <-t.soft.Done():
		return t.soft.Err()
	case <-l.decided:
		t.hideHeld(w.id)
		return nil
	case <-l.move:
	case <-long.C:
	}
	t.mu.Lock()
	l.held = false // from here on a decision waits until the lane has moved
	f = *t.effect(w.id)
	t.mu.Unlock()
	if f.state != onHold {
		t.hideHeld(w.id)
		return nil
	}
	return t.moveHead(l, w, f)
}

func unsignal(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// moveHead moves a lane to the hold topic, beginning with the event that is held. Those behind it follow one by one.
func (t *task) moveHead(l *line, w *work, f effect) error {
	f.moved = movedHead
	if err := t.record(t.hard, w, f, "", t.holdRecord(w)); err != nil {
		return err
	}
	t.mu.Lock()
	l.moved = true
	t.mu.Unlock()
	t.d.o.Log.Warn("a held lane was moved to the hold topic", "sink", t.d.o.Sink, "key", l.name, "topic", t.hold)
	return nil
}

// moveBehind appends an event of a moved lane to the hold topic; that is all that is done for it now.
func (t *task) moveBehind(l *line, w *work, f effect) error {
	if f.moved != "" {
		return nil
	}
	f.state, f.moved, f.note = onHold, movedBehind, "behind an event that waits for a person"
	if err := t.record(t.hard, w, f, "", t.holdRecord(w)); err != nil {
		return err
	}
	t.mu.Lock()
	l.behind++
	t.mu.Unlock()
	return nil
}

// holdRecord is the event as it was, with the topic that it came from.
func (t *task) holdRecord(w *work) kafka.Record {
	hs := append(append(make([]kafka.Header, 0, len(w.rec.Headers)+1), w.rec.Headers...), kafka.Header{Key: holdTopic, Value: []byte(t.topic)})
	return kafka.Record{Topic: t.hold, Partition: t.part, Key: w.rec.Key, Value: w.rec.Value, Headers: hs}
}

// resumeMoved brings moved lanes back after a restart.
func (t *task) resumeMoved() {
	heads := map[string]*line{}
	t.mu.Lock()
	for id, f := range t.effects {
		if f.moved == "" || f.finished() {
			continue
		}
		l := t.lanes[f.lane]
		if l == nil {
			l = newLine(f.lane)
			l.moved, l.release = true, true
			t.lanes[f.lane] = l
		}
		if f.state == onHold && f.moved == movedHead {
			l.release = false
			heads[id] = l
		} else {
			l.behind++
		}
	}
	for _, l := range t.lanes {
		if l.release {
			t.start(l)
		}
	}
	t.mu.Unlock()
	for id, l := range heads {
		t.showHeld(l, id, t.look(id))
	}
}

// drain delivers a lane's events from the hold topic, in order, and then opens the lane. New events of the lane go to
// the hold topic until then; this goroutine is the one that would append them, so none is missed.
func (t *task) drain(l *line) error {
	for {
		_, err := t.d.o.Client.ReadAll(t.soft, t.hold, t.part, 0, func(r kafka.Record) error {
			if string(r.Header(holdTopic)) != t.topic || valid(string(r.Key)) != l.name {
				return nil
			}
			w := newWork(r)
			w.drained = true
			return t.deliver(l, w)
		})
		if errors.Is(err, errBlocked) {
			return t.blockAgain(l)
		}
		if err != nil {
			return fmt.Errorf("draining the hold topic: %w", err)
		}
		if t.allDrained(l) {
			return nil
		}
		// Another task's open transaction hides the end of the hold topic for the moment.
		if err := sleep(t.soft, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// allDrained opens the lane when none of its events stands in the hold topic any more.
func (t *task) allDrained(l *line) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.behind = 0
	for _, f := range t.effects {
		if f.lane == l.name && f.moved != "" && !f.finished() {
			l.behind++
		}
	}
	l.moved = l.behind > 0
	return !l.moved
}

// blockAgain lists what stopped a drain.
func (t *task) blockAgain(l *line) error {
	t.mu.Lock()
	var id string
	var head effect
	l.behind = 0
	for i, f := range t.effects {
		if f.lane != l.name || f.moved == "" || f.finished() {
			continue
		}
		if f.state == onHold && f.moved == movedHead {
			id, head = i, *f
		} else {
			l.behind++
		}
	}
	t.mu.Unlock()
	t.showHeld(l, id, head)
	return nil
}

// forget takes the task's effects off the list when it ends.
func (t *task) forget() {
	t.mu.Lock()
	ids := make([]string, 0, t.waiting)
	for id, f := range t.effects {
		if f.state == onHold {
			ids = append(ids, id)
		}
	}
	t.mu.Unlock()
	for _, id := range ids {
		t.d.clearHeld(t.waitID(id))
	}
}

// decide applies a person's decision to an effect that waits for it.
func (f *effect) decide(m *inboxv1.EffectRecord) bool {
	if f.state != onHold || f.moved == movedBehind {
		return false
	}
	f.state, f.note = m.GetState(), m.GetNote()
	return true
}
