package lane

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// The states of an effect, short.
const (
	unknown     = inboxv1.EffectState_EFFECT_STATE_UNSPECIFIED
	intent      = inboxv1.EffectState_EFFECT_STATE_INTENT
	done        = inboxv1.EffectState_EFFECT_STATE_DONE
	rejected    = inboxv1.EffectState_EFFECT_STATE_REJECTED
	notExecuted = inboxv1.EffectState_EFFECT_STATE_NOT_EXECUTED
	onHold      = inboxv1.EffectState_EFFECT_STATE_HELD
	skipped     = inboxv1.EffectState_EFFECT_STATE_SKIPPED
)

// Headers of receipt records.
const (
	movedHeader    = "plantloom-moved"    // the event stands in the hold topic: movedHead or movedBehind
	decisionHeader = "plantloom-decision" // written for a person, not by the owner of the partition
)

// decisionSuffix keeps the key of a decision apart from that of the receipt, so that compaction keeps both.
const decisionSuffix = "!"

// How an event came to stand in the hold topic.
const (
	movedHead   = "head"   // it is what a person must decide
	movedBehind = "behind" // it follows such an event in its lane
)

// effect is what the receipts say about an effect id. Its lane's goroutine changes it.
type effect struct {
	state    inboxv1.EffectState
	attempt  uint32
	hash     []byte
	deadline time.Time // of the newest INTENT
	moved    string
	lane     string // of those that are not finished
	note     string
	at       time.Time
	decided  bool // a person's decision is in the topic, too
}

func (f *effect) finished() bool {
	return f.state == done || f.state == rejected || f.state == skipped
}

// work is one event on its way.
type work struct {
	rec      kafka.Record
	event    pipeline.Event
	bad      error // why the record is no event
	id       string
	hash     []byte
	tries    int
	conflict bool // another content has this effect id already
	life     int  // of the window that admitted it
	drained  bool // comes from the hold topic, not from the event topic
}

func newWork(r kafka.Record) *work {
	w := &work{rec: r}
	w.event, w.bad = kafka.ParseEvent(r)
	if w.bad != nil {
		w.id = fmt.Sprintf("unreadable/%s/%d/%d", r.Topic, r.Partition, r.Offset)
	} else {
		w.id = w.event.EffectID()
	}
	h := digest(r.Value)
	w.hash = h[:]
	return w
}

// lane is the name of the event's lane: its key as valid text.
func (w *work) lane() string { return valid(string(w.rec.Key)) }

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// clash names the conflict of an effect id that comes again with another content. The first content's receipt stays.
func (w *work) clash() string { return w.id + "~" + hex.EncodeToString(w.hash[:4]) }

// record commits a new state of an effect and then keeps it in memory. first is committed before it, or with it.
func (t *task) record(ctx context.Context, w *work, f effect, document string, first ...kafka.Record) error {
	f.lane, f.hash, f.at = w.lane(), w.hash, t.d.o.Now()
	m := &inboxv1.EffectRecord{
		EffectId: w.id, EventId: w.event.ID, Revision: w.event.Revision, Lane: f.lane, State: f.state, Attempt: f.attempt,
		At: timestamppb.New(f.at), Document: valid(document), Note: valid(f.note), PayloadHash: f.hash, EventOffset: w.rec.Offset,
		EventType: w.event.Type,
	}
	if !f.deadline.IsZero() {
		m.Deadline = timestamppb.New(f.deadline)
	}
	v, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding a receipt: %w", err)
	}
	r := kafka.Record{Topic: t.receipts, Partition: t.part, Key: []byte(w.id), Value: v}
	if f.moved != "" {
		r.Headers = append(r.Headers, kafka.Header{Key: movedHeader, Value: []byte(f.moved)})
	}
	if err := t.crash("before " + f.state.String()); err != nil {
		return err
	}
	if err := t.journal.write(ctx, &entry{first: first, receipts: []kafka.Record{r}}); err != nil {
		return err
	}
	t.mu.Lock()
	*t.effect(w.id) = f
	t.mu.Unlock()
	return t.crash("after " + f.state.String())
}

// effect returns what is known about an id; t.mu is held.
func (t *task) effect(id string) *effect {
	f := t.effects[id]
	if f == nil {
		f = &effect{}
		t.effects[id] = f
	}
	return f
}

// load takes one receipt record into memory. t.mu is held, or nothing else runs yet.
func (t *task) load(r kafka.Record) error {
	if r.Value == nil {
		delete(t.effects, string(r.Key))
		return nil
	}
	var m inboxv1.EffectRecord
	if err := proto.Unmarshal(r.Value, &m); err != nil {
		return fmt.Errorf("decoding the receipt at offset %d of %s/%d: %w", r.Offset, r.Topic, r.Partition, err)
	}
	f := t.effect(m.GetEffectId())
	if r.Header(decisionHeader) != nil {
		f.decided = true
		f.decide(&m)
		return nil
	}
	*f = effect{
		state: m.GetState(), attempt: m.GetAttempt(), hash: m.GetPayloadHash(), moved: string(r.Header(movedHeader)),
		lane: m.GetLane(), note: m.GetNote(), at: m.GetAt().AsTime(), decided: f.decided,
	}
	if m.GetDeadline() != nil {
		f.deadline = m.GetDeadline().AsTime()
	}
	if f.finished() {
		f.lane, f.note = "", "" // there are many of them, and their note is in the topic
	}
	return nil
}

// expire removes the receipts of finished effects that no replay can reach any more. Receipts have no time retention,
// because that of an effect that waits for a person must outlive every horizon.
func (t *task) expire() error {
	for {
		old := t.d.o.Now().Add(-receiptsFor)
		var ids []string
		t.mu.Lock()
		for id, f := range t.effects {
			if f.finished() && f.at.Before(old) {
				ids = append(ids, id)
			}
		}
		t.mu.Unlock()
		for len(ids) > 0 {
			n := min(len(ids), maxEntries)
			if err := t.remove(ids[:n]); err != nil {
				return err
			}
			ids = ids[n:]
		}
		if err := sleep(t.soft, expireEvery); err != nil {
			return nil
		}
	}
}

func (t *task) remove(ids []string) error {
	e := &entry{}
	for _, id := range ids {
		e.receipts = append(e.receipts, kafka.Record{Topic: t.receipts, Partition: t.part, Key: []byte(id)})
		if t.look(id).decided {
			e.receipts = append(e.receipts, kafka.Record{Topic: t.receipts, Partition: t.part, Key: []byte(id + decisionSuffix)})
		}
	}
	if err := t.journal.write(t.hard, e); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		delete(t.effects, id)
	}
	return nil
}

// sameContent reports whether an effect was made of this content. A HELD or INTENT from before has its hash too.
func (f *effect) sameContent(w *work) bool { return f.hash == nil || bytes.Equal(f.hash, w.hash) }
