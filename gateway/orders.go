package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// orderBook holds the orders in view, bounded by sweep. The topics and the ERP keep more (R18).
type orderBook struct {
	l       limits
	byID    map[string]*order
	facts   int       // event ids remembered, of all orders
	newest  time.Time // of all records applied: the book's clock
	applied int       // records since the last sweep
	ignored uint64    // quantities of orders that had closed long before
}

func newOrderBook(l limits) *orderBook { return &orderBook{l: l, byID: map[string]*order{}} }

// order is one order of the view with what is needed to fold further events into it.
type order struct {
	doc     *eventv1.ProductionOrder
	facts   map[string]*fact // by event id: a repeated event counts once, a correction replaces what it corrects
	base    sum              // of facts that are no longer remembered one by one
	sum     sum              // of base and facts
	sealed  bool             // closed for long: takes no more quantities
	changed time.Time
	view    *gatewayv1.OrderView
}

func (b *orderBook) of(id string) *order {
	o := b.byID[id]
	if o == nil {
		o = &order{facts: map[string]*fact{}}
		b.byID[id] = o
	}
	return o
}

// closed reports whether the floor or the ERP has ended the order.
func (o *order) closed() bool { return rankOf(o.view.GetState()) == rankClosed }

// touch moves the book's clock and renders the order again. A view that was handed out never changes.
func (b *orderBook) touch(id string, o *order, at time.Time) {
	if at.After(o.changed) {
		o.changed = at
	}
	if at.After(b.newest) {
		b.newest = at
	}
	o.view = o.render(id)
	if b.applied++; b.applied >= 1000 || len(b.byID) > b.l.orders+b.l.orders/10 || b.facts > b.l.facts+b.l.facts/10 {
		b.sweep()
	}
}

func (v *views) applyOrder(r kafka.Record, _ bool) error {
	doc := &eventv1.ProductionOrder{}
	if err := proto.Unmarshal(r.Value, doc); err != nil {
		return fmt.Errorf("decoding an order: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	b := v.orders
	if r.Value == nil { // a tombstone: what events say of the order stays
		if o := b.byID[string(r.Key)]; o != nil {
			o.doc = nil
			b.touch(string(r.Key), o, r.Time)
		}
		return nil
	}
	if doc.GetOrderId() == "" {
		return fmt.Errorf("the order document with key %q has no order_id", r.Key)
	}
	o := b.of(doc.GetOrderId())
	o.doc = doc
	b.touch(doc.GetOrderId(), o, r.Time)
	return nil
}

func (v *views) applyProduction(r kafka.Record, _ bool) error {
	e, err := decodeProduction(r)
	if err != nil || e == nil {
		return err
	}
	if e.GetOrderId() == "" {
		return nil // such an event belongs to no order
	}
	f, err := newFact(e, r.Time)
	if err != nil {
		return fmt.Errorf("reading event %s: %w", e.GetHeader().GetEventId(), err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	b := v.orders
	o := b.of(e.GetOrderId())
	old := o.facts[e.GetHeader().GetEventId()]
	switch {
	case old != nil && old.revision >= f.revision:
		return nil // a repeat, or older than what is known
	case o.sealed:
		b.ignored++
		return nil
	case old != nil:
		o.facts[e.GetHeader().GetEventId()] = f
		o.sum = o.base
		for _, f := range o.facts {
			o.sum.add(f)
		}
	default:
		o.facts[e.GetHeader().GetEventId()] = f
		b.facts++
		o.sum.add(f)
	}
	b.touch(e.GetOrderId(), o, r.Time)
	return nil
}

// render makes the order's view.
func (o *order) render(id string) *gatewayv1.OrderView {
	v := &gatewayv1.OrderView{
		OrderId: id, Order: o.doc, State: o.state(), Planned: o.doc.GetPlannedQuantity().GetValue(), AssetPath: o.sum.path,
		StartedAt: stamp(o.sum.started), EndedAt: stamp(o.sum.ended), ChangedAt: stamp(o.changed), FinalConfirmation: o.sum.final,
	}
	if o.sum.last.kind != 0 {
		v.LastEventType = strings.TrimPrefix(o.sum.last.kind.String(), "PRODUCTION_ORDER_EVENT_TYPE_")
	}
	if o.sum.counted {
		v.Reported = &eventv1.QuantityReport{Good: o.sum.quantity(good), Scrap: o.sum.quantity(scrap)}
		if !o.sum.total[rework].IsZero() {
			v.Reported.Rework = o.sum.quantity(rework)
		}
	}
	return v
}

// state joins what the floor did with what the ERP says: an end on either side is an end.
func (o *order) state() eventv1.OrderState {
	floor, doc := o.sum.state.state, o.doc.GetState()
	switch {
	case rankOf(floor) == rankClosed:
		return floor
	case o.doc.GetDeleted():
		return eventv1.OrderState_ORDER_STATE_CANCELLED
	case rankOf(doc) == rankClosed:
		return doc
	case floor == 0 && o.doc != nil:
		return cmp.Or(doc, eventv1.OrderState_ORDER_STATE_RELEASED)
	}
	return floor
}

// sweep keeps the book within its limits: closed orders forget their event ids after a while and take no more
// quantities; with too many ids the longest untouched orders forget theirs, whose repeats are long past; with too
// many orders the longest untouched go, closed ones first.
func (b *orderBook) sweep() {
	b.applied = 0
	for _, o := range b.byID {
		if !o.sealed && o.closed() && b.newest.Sub(o.changed) > b.l.closedFor {
			b.forget(o)
			o.sealed = true
		}
	}
	if len(b.byID) <= b.l.orders && b.facts <= b.l.facts {
		return
	}
	ids := make([]string, 0, len(b.byID))
	for id := range b.byID {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y string) int { return b.byID[x].changed.Compare(b.byID[y].changed) })
	for _, id := range ids {
		if b.facts <= b.l.facts {
			break
		}
		b.forget(b.byID[id])
	}
	for _, open := range []bool{false, true} {
		for _, id := range ids {
			if len(b.byID) <= b.l.orders {
				return
			}
			if o := b.byID[id]; o != nil && (open || o.closed()) {
				b.forget(o)
				delete(b.byID, id)
			}
		}
	}
}

// forget folds an order's facts into its base.
func (b *orderBook) forget(o *order) {
	b.facts -= len(o.facts)
	o.base, o.facts = o.sum, map[string]*fact{}
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// The quantities of a progress report.
const (
	good = iota
	scrap
	rework
)
