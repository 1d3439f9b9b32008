package lane

import (
	"errors"
	"fmt"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

// fetch admits events as long as there is room.
func (t *task) fetch() error {
	for t.soft.Err() == nil {
		recs, err := t.fetcher.Fetch(t.soft)
		if err != nil {
			if err = t.gap(err); err != nil {
				return err
			}
			continue
		}
		for len(recs) > 0 {
			if err := t.waitForRoom(); err != nil {
				return err
			}
			recs = t.admitSome(recs)
		}
		t.mu.Lock()
		t.win.next = max(t.win.next, t.fetcher.Position())
		t.mu.Unlock()
	}
	return nil
}

// admitSome admits records until memory is full and returns the others.
func (t *task) admitSome(recs []kafka.Record) []kafka.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(recs) && !t.full() {
		t.admit(newWork(recs[n]))
		n++
	}
	return recs[n:]
}

// gap decides what to do where the log has a hole. It is never passed in silence; receipts keep what comes again from
// being delivered twice.
func (t *task) gap(err error) error {
	var gone *kafka.OutOfRange
	var bad *kafka.Unreadable
	switch {
	case errors.As(err, &gone):
		t.d.o.Count("gaps", 1)
		t.d.o.Log.Error("events are missing and were not delivered; compare the sink with the plant's records, and check retention and the broker's disk",
			"sink", t.d.o.Sink, "topic", t.topic, "partition", t.part, "asked", gone.Asked, "start", gone.Start, "end", gone.End)
		t.jump(gone.Start)
		return nil
	case errors.As(err, &bad):
		t.d.o.Count("gaps", 1)
		t.d.o.Log.Error("a batch of events cannot be read and was not delivered; check the broker's disk",
			"sink", t.d.o.Sink, "topic", t.topic, "partition", t.part, "offset", bad.Offset, "next", bad.Next, "err", bad.Err)
		t.jump(bad.Next)
		return nil
	}
	return fmt.Errorf("reading events: %w", err)
}

// jump goes on reading at another offset. Positions before it are of a log that is gone: what is still under way
// finishes, and the committed offset starts afresh.
func (t *task) jump(to int64) {
	t.fetcher.SkipTo(to)
	t.mu.Lock()
	defer t.mu.Unlock()
	if to < t.win.next {
		t.win.restart(to)
	} else {
		t.win.next = to
	}
	t.committed = -1 // what is stored belongs to the log before
}

// admit puts an event behind the others of its lane; t.mu is held.
func (t *task) admit(w *work) {
	t.win.admit(w.rec.Offset)
	w.life = t.win.life
	t.bytes += len(w.rec.Value)
	name := w.lane()
	l := t.lanes[name]
	if l == nil {
		l = newLine(name)
		t.lanes[name] = l
	}
	l.queue = append(l.queue, w)
	if l.held && len(l.queue) > t.d.o.HoldEvents {
		signal(l.move)
	}
	t.start(l)
}

func (t *task) full() bool {
	return t.win.open >= maxOpen || t.bytes >= maxOpenBytes || len(t.win.slots) >= maxSpan
}

// waitForRoom is the back-pressure: while memory is full nothing is fetched. Held lanes that fill it move aside.
func (t *task) waitForRoom() error {
	for {
		t.mu.Lock()
		full := t.full()
		if full {
			t.relieve()
		}
		t.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-t.room:
		case <-t.soft.Done():
			return t.soft.Err()
		}
	}
}

// relieve asks the held lane with most events to move aside; t.mu is held.
func (t *task) relieve() {
	var longest *line
	for _, l := range t.lanes {
		if l.held && (longest == nil || len(l.queue) > len(longest.queue)) {
			longest = l
		}
	}
	if longest != nil {
		signal(longest.move)
	}
}
