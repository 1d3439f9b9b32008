package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// hand does what line.map.yaml says in Go that somebody wrote for this one mapping: the same counters, roll-overs,
// intervals and orders, and the same quantities in the same number of events. It takes every sample as it comes. What
// the engine does beyond that is what the difference pays for: samples sorted by event time behind a watermark, repeats
// told, quality carried into the event, stable ids, provenance, state that can be saved after any record.
type hand struct {
	lines map[string]*handLine
	by    map[string]handTag
	emit  func(l *handLine, kind eventv1.ProductionOrderEventType, at int64) error
	body  []byte
	total tally
}

// tally is what two ways of doing the same must agree in.
type tally struct{ Started, Progress, Completed, Good, Scrap int64 }

type handTag struct {
	l    *handLine
	what handInput
}

type handInput uint8

const (
	handGood handInput = iota + 1
	handScrap
	handOrder
	handOperation
	handDone
	handTotalGood
	handTotalScrap
)

type handLine struct {
	name                  string
	good, scrap           handCounter
	order, operation      string
	done                  bool
	totalGood, totalScrap int64
	tick                  int64 // end of the interval, ns
}

// handCounter is a 16 bit counter and what it counted in this interval.
type handCounter struct {
	known       bool
	last, delta int64
}

func (c *handCounter) take(v int64) {
	if c.known {
		if v < c.last {
			c.delta += 65_536
		}
		c.delta += v - c.last
	}
	c.known, c.last = true, v
}

// newHand returns the hand-written mapping for n lines. With formulas it evaluates the rules' formulas with expr's own
// virtual machine instead of Go.
func newHand(n int, formulas *ruleTexts) *hand {
	h := &hand{lines: map[string]*handLine{}, by: map[string]handTag{}}
	for i := range n {
		l := &handLine{name: lineName(i)}
		h.lines[assetOf(l.name)] = l
		for part, what := range map[string]handInput{
			"Cnt.Good": handGood, "Cnt.Scrap": handScrap, "Order.No": handOrder, "Order.Operation": handOperation,
			"Order.Done": handDone, "Order.Good": handTotalGood, "Order.Scrap": handTotalScrap,
		} {
			h.by[l.name+"/"+part] = handTag{l, what}
		}
	}
	h.emit = h.event
	if formulas != nil {
		h.emit = func(l *handLine, kind eventv1.ProductionOrderEventType, at int64) error {
			return formulas.event(h, l, kind, at)
		}
	}
	return h
}

// batch applies one record.
func (h *hand) batch(tb *inboxv1.TagBatch) error {
	for _, s := range tb.GetSamples() {
		t, ok := h.by[tb.GetTags()[s.GetTagHandle()].GetTagId()]
		if !ok || pipeline.Quality(s.GetStatusCode()).IsBad() {
			continue
		}
		if err := h.take(t, s); err != nil {
			return err
		}
	}
	return nil
}

const handInterval = int64(10 * time.Second)

func (h *hand) take(t handTag, s *inboxv1.TagSample) error {
	l, at := t.l, s.GetSourceTimeNs()
	for l.tick != 0 && at >= l.tick {
		if err := h.close(l, l.tick); err != nil {
			return err
		}
		l.tick += handInterval
	}
	if l.tick == 0 {
		l.tick = at - at%handInterval + handInterval
	}
	switch t.what {
	case handGood:
		l.good.take(s.GetIntValue())
	case handScrap:
		l.scrap.take(s.GetIntValue())
	case handOperation:
		l.operation = s.GetStringValue()
	case handTotalGood:
		l.totalGood = s.GetIntValue()
	case handTotalScrap:
		l.totalScrap = s.GetIntValue()
	case handOrder:
		return h.orderChanged(l, s.GetStringValue(), at)
	case handDone:
		return h.doneChanged(l, s.GetBoolValue(), at)
	}
	return nil
}

func (h *hand) orderChanged(l *handLine, order string, at int64) error {
	if order == l.order {
		return nil
	}
	if err := h.close(l, at); err != nil {
		return err
	}
	l.order = order
	if order == "" {
		return nil
	}
	h.total.Started++
	return h.emit(l, eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_STARTED, at)
}

func (h *hand) doneChanged(l *handLine, done bool, at int64) error {
	if done == l.done {
		return nil
	}
	l.done = done
	if err := h.close(l, at); err != nil {
		return err
	}
	if !done || l.order == "" {
		return nil
	}
	h.total.Completed++
	return h.emit(l, eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_COMPLETED, at)
}

// close ends the interval at an instant.
func (h *hand) close(l *handLine, at int64) error {
	err := h.emit(l, eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PROGRESS, at)
	l.good.delta, l.scrap.delta = 0, 0
	return err
}

func (h *hand) counted(l *handLine) {
	h.total.Progress++
	h.total.Good += l.good.delta
	h.total.Scrap += l.scrap.delta
}

// event makes the event of a rule whose condition holds.
func (h *hand) event(l *handLine, kind eventv1.ProductionOrderEventType, at int64) error {
	e := &eventv1.ProductionOrderEvent{Type: kind, OrderId: l.order, OperationId: l.operation, State: eventv1.OrderState_ORDER_STATE_RUNNING}
	when := timestamppb.New(time.Unix(0, at))
	switch kind {
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PROGRESS:
		if l.order == "" || l.good.delta <= 0 && l.scrap.delta <= 0 {
			return nil
		}
		h.counted(l)
		e.Delta, e.IntervalEnd = report(l.good.delta, l.scrap.delta), when
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_COMPLETED:
		e.State, e.FinalConfirmation = eventv1.OrderState_ORDER_STATE_COMPLETED, true
		e.Cumulative, e.ActualEnd = report(l.totalGood, l.totalScrap), when
	default:
		e.ActualStart = when
	}
	return h.write(l, e, when)
}

// write marshals an event.
func (h *hand) write(l *handLine, e *eventv1.ProductionOrderEvent, when *timestamppb.Timestamp) error {
	e.Header = &eventv1.EventHeader{
		EventId: l.name + "/" + e.OrderId + "/" + strconv.FormatInt(when.AsTime().UnixNano(), 36), OccurredAt: when,
		Scope: &eventv1.EquipmentScope{WorkCenter: l.name},
	}
	var err error
	if h.body, err = (proto.MarshalOptions{}).MarshalAppend(h.body[:0], e); err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	return nil
}

func report(good, scrap int64) *eventv1.QuantityReport {
	return &eventv1.QuantityReport{
		Good:  &eventv1.Quantity{Value: strconv.FormatInt(good, 10), UnitCode: "C62"},
		Scrap: &eventv1.Quantity{Value: strconv.FormatInt(scrap, 10), UnitCode: "C62"},
	}
}

// add counts an event that the engine made.
func (t *tally) add(body []byte) error {
	var e eventv1.ProductionOrderEvent
	if err := proto.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("decoding an event: %w", err)
	}
	switch kind := strings.TrimPrefix(e.GetType().String(), "PRODUCTION_ORDER_EVENT_TYPE_"); kind {
	case "STARTED":
		t.Started++
	case "COMPLETED":
		t.Completed++
	case "PROGRESS":
		t.Progress++
		good, err1 := strconv.ParseInt(e.GetDelta().GetGood().GetValue(), 10, 64)
		scrap, err2 := strconv.ParseInt(e.GetDelta().GetScrap().GetValue(), 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("reading the quantities of an event: %w", err)
		}
		t.Good += good
		t.Scrap += scrap
	default:
		return fmt.Errorf("an event of type %s was not expected", kind)
	}
	return nil
}
