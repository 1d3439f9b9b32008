package lane

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// Decision is what a person decides about a held effect.
type Decision struct {
	Sink      string
	Events    string // event topic without namespace
	Partition int32
	EffectID  string
	// Outcome is DONE (the sink has it, go on), NOT_EXECUTED (the sink certainly does not have it, send it) or REJECTED
	// (give it up, go on).
	Outcome  inboxv1.EffectState
	Document string // the sink's number, when DONE
	By, Why  string // person and reason, kept in the receipt
	At       time.Time
}

// Decide makes a decision durable. The owner of the partition reads it within a second and applies it when the effect
// is held; a decision about any other effect has no consequence. It works while the owner is away, too.
func Decide(ctx context.Context, c *kafka.Client, d Decision) error {
	if d.Outcome != done && d.Outcome != notExecuted && d.Outcome != rejected {
		return fmt.Errorf("outcome %s is no decision: use DONE, NOT_EXECUTED or REJECTED", d.Outcome)
	}
	v, err := proto.Marshal(&inboxv1.EffectRecord{
		EffectId: d.EffectID, State: d.Outcome, Document: valid(d.Document), At: timestamppb.New(d.At),
		Note: valid(fmt.Sprintf("decided by %s: %s", d.By, d.Why)),
	})
	if err != nil {
		return fmt.Errorf("encoding a decision: %w", err)
	}
	rec := kafka.Record{
		Topic: c.Topic(kafka.ReceiptTopic(d.Sink, d.Events)), Partition: d.Partition, Key: []byte(d.EffectID + decisionSuffix), Value: v,
		Headers: []kafka.Header{{Key: decisionHeader, Value: []byte(valid(d.By))}},
	}
	if _, err := c.NewProducer(kafka.ProducerOptions{}).Produce(ctx, []kafka.Record{rec}); err != nil {
		return fmt.Errorf("writing a decision about effect %s: %w", d.EffectID, err)
	}
	return nil
}

// watchDecisions reads the receipts for decisions while something waits for one.
func (t *task) watchDecisions() error {
	f := t.d.o.Client.NewFetcher(t.receipts, t.part, t.watchFrom, kafka.FetchOptions{})
	for t.soft.Err() == nil {
		t.mu.Lock()
		waiting := t.waiting
		t.mu.Unlock()
		if waiting == 0 {
			select {
			case <-t.watch:
			case <-t.soft.Done():
			}
			continue
		}
		recs, err := f.Fetch(t.soft)
		if err != nil {
			return fmt.Errorf("reading decisions: %w", err)
		}
		for _, r := range recs {
			if r.Header(decisionHeader) == nil {
				continue
			}
			if err := t.apply(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply gives a decision to the effect's lane.
func (t *task) apply(r kafka.Record) error {
	var m inboxv1.EffectRecord
	if err := proto.Unmarshal(r.Value, &m); err != nil {
		return fmt.Errorf("decoding the decision at offset %d: %w", r.Offset, err)
	}
	id, by := m.GetEffectId(), string(r.Header(decisionHeader))
	for {
		applied, moving := t.tell(&m)
		switch {
		case applied:
			t.d.o.Log.Info("a held delivery was decided", "sink", t.d.o.Sink, "effect", id, "by", by, "outcome", m.GetState().String())
			return nil
		case !moving:
			t.d.o.Log.Warn("a decision about an effect that does not wait for one has no consequence", "sink", t.d.o.Sink, "effect", id, "by", by)
			return nil
		}
		if err := sleep(t.soft, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// tell changes the effect's state and wakes its lane. moving: the lane is on its way to the hold topic, try again.
func (t *task) tell(m *inboxv1.EffectRecord) (applied, moving bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.effects[m.GetEffectId()]
	if f == nil {
		return false, false
	}
	l := t.lanes[f.lane]
	if f.state == onHold && l != nil && !l.held && !l.moved {
		return false, true
	}
	f.decided = true
	if !f.decide(m) {
		return false, false
	}
	switch {
	case l == nil:
	case l.held:
		signal(l.decided)
	case l.moved:
		t.waiting--
		t.d.clearHeld(t.waitID(m.GetEffectId())) // t.mu before d.mu; nothing takes them the other way round
		l.release = true
		t.start(l)
	}
	return true, false
}
