package gateway

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// order is one order of the view with what is needed to fold further events into it.
type order struct {
	view        *gatewayv1.OrderView
	good, scrap apd.Decimal
	unit        string
	seen        map[string]uint32 // event id -> revision + 1: a replayed event is counted once
}

// terminal are the states that no later event of a smaller kind leaves.
var terminal = map[eventv1.OrderState]bool{
	eventv1.OrderState_ORDER_STATE_COMPLETED: true, eventv1.OrderState_ORDER_STATE_ABORTED: true,
	eventv1.OrderState_ORDER_STATE_CANCELLED: true, eventv1.OrderState_ORDER_STATE_CLOSED: true,
}

// stateAfter is the order's state that an event of the floor leads to; 0 where it changes nothing.
var stateAfter = map[eventv1.ProductionOrderEventType]eventv1.OrderState{
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_RELEASED:      eventv1.OrderState_ORDER_STATE_RELEASED,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_DOWNLOADED:    eventv1.OrderState_ORDER_STATE_READY,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_SETUP_STARTED: eventv1.OrderState_ORDER_STATE_RUNNING,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_STARTED:       eventv1.OrderState_ORDER_STATE_RUNNING,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PROGRESS:      eventv1.OrderState_ORDER_STATE_RUNNING,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_RESUMED:       eventv1.OrderState_ORDER_STATE_RUNNING,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PAUSED:        eventv1.OrderState_ORDER_STATE_PAUSED,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_HELD:          eventv1.OrderState_ORDER_STATE_HELD,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_COMPLETED:     eventv1.OrderState_ORDER_STATE_COMPLETED,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_ABORTED:       eventv1.OrderState_ORDER_STATE_ABORTED,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_CANCELLED:     eventv1.OrderState_ORDER_STATE_CANCELLED,
	eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_CLOSED:        eventv1.OrderState_ORDER_STATE_CLOSED,
}

func (v *views) orderOf(id string) *order {
	o := v.orders[id]
	if o == nil {
		o = &order{view: &gatewayv1.OrderView{OrderId: id}, seen: map[string]uint32{}}
		v.orders[id] = o
	}
	return o
}

func (v *views) applyOrder(r kafka.Record) error {
	doc := &eventv1.ProductionOrder{}
	if err := proto.Unmarshal(r.Value, doc); err != nil {
		return fmt.Errorf("decoding an order: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	o := v.orderOf(doc.GetOrderId())
	next := proto.CloneOf(o.view) // a view that was handed out never changes
	next.Order, next.Planned = doc, doc.GetPlannedQuantity().GetValue()
	if next.GetState() == eventv1.OrderState_ORDER_STATE_UNSPECIFIED {
		next.State = cmp.Or(doc.GetState(), eventv1.OrderState_ORDER_STATE_RELEASED)
	}
	if doc.GetDeleted() && !terminal[next.GetState()] {
		next.State = eventv1.OrderState_ORDER_STATE_CANCELLED
	}
	next.ChangedAt = later(next.GetChangedAt(), r.Time)
	o.view = next
	return nil
}

func (v *views) applyProduction(r kafka.Record) error {
	e := &eventv1.ProductionOrderEvent{}
	if err := proto.Unmarshal(r.Value, e); err != nil {
		return fmt.Errorf("decoding a production order event: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	o := v.orderOf(e.GetOrderId())
	if o.seen[e.GetHeader().GetEventId()] > e.GetHeader().GetRevision() {
		return nil
	}
	o.seen[e.GetHeader().GetEventId()] = e.GetHeader().GetRevision() + 1
	next := proto.CloneOf(o.view)
	if s := stateAfter[e.GetType()]; s != 0 && !terminal[next.GetState()] {
		next.State = s
	}
	at := e.GetHeader().GetOccurredAt()
	switch e.GetType() {
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_STARTED:
		next.StartedAt = at
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_COMPLETED:
		next.EndedAt = at
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PROGRESS:
		if err := o.add(e.GetDelta()); err != nil {
			return err
		}
		next.Reported = &eventv1.QuantityReport{Good: o.quantity(&o.good), Scrap: o.quantity(&o.scrap)}
	}
	next.FinalConfirmation = next.GetFinalConfirmation() || e.GetFinalConfirmation()
	next.LastEventType = strings.TrimPrefix(e.GetType().String(), "PRODUCTION_ORDER_EVENT_TYPE_")
	s := e.GetHeader().GetScope()
	next.AssetPath = strings.Join(nonEmpty(s.GetEnterprise(), s.GetSite(), s.GetArea(), s.GetWorkCenter(), s.GetWorkUnit()), "/")
	next.ChangedAt = later(next.GetChangedAt(), r.Time)
	o.view = next
	return nil
}

func (o *order) add(d *eventv1.QuantityReport) error {
	for _, q := range []struct {
		sum *apd.Decimal
		add *eventv1.Quantity
	}{{&o.good, d.GetGood()}, {&o.scrap, d.GetScrap()}} {
		if q.add.GetValue() == "" {
			continue
		}
		n, _, err := apd.NewFromString(q.add.GetValue())
		if err != nil {
			return fmt.Errorf("reading a quantity: %w", err)
		}
		if _, err := apd.BaseContext.WithPrecision(34).Add(q.sum, q.sum, n); err != nil {
			return fmt.Errorf("adding a quantity: %w", err)
		}
		o.unit = q.add.GetUnitCode()
	}
	return nil
}

func (o *order) quantity(d *apd.Decimal) *eventv1.Quantity {
	return &eventv1.Quantity{Value: d.Text('f'), UnitCode: o.unit}
}

// ListOrders implements OrderService.
func (s *server) ListOrders(_ context.Context, r *gatewayv1.ListOrdersRequest) (*gatewayv1.ListOrdersResponse, error) {
	size, err := pageSize(r.GetPageSize())
	if err != nil {
		return nil, err
	}
	var state eventv1.OrderState
	if r.GetState() != "" {
		n, ok := eventv1.OrderState_value["ORDER_STATE_"+strings.ToUpper(r.GetState())]
		if !ok {
			return nil, badField("state", fmt.Sprintf("%q is not an order state; for example RUNNING or COMPLETED", r.GetState()))
		}
		state = eventv1.OrderState(n)
	}
	all := s.views.listOrders(func(o *gatewayv1.OrderView) bool {
		return (state == 0 || o.GetState() == state) && (r.GetWorkCenter() == "" || hasWorkCenter(o, r.GetWorkCenter()))
	})
	from, err := decodePage(r.GetPageToken())
	if err != nil {
		return nil, err
	}
	page, next := cut(all, from, size)
	return &gatewayv1.ListOrdersResponse{Orders: page, NextPageToken: next}, nil
}

func hasWorkCenter(o *gatewayv1.OrderView, wc string) bool {
	if o.GetAssetPath() == wc || strings.HasSuffix(o.GetAssetPath(), "/"+wc) {
		return true
	}
	return slices.ContainsFunc(o.GetOrder().GetOperations(), func(op *eventv1.Operation) bool { return op.GetWorkCenter() == wc })
}

// listOrders returns the orders that keep wants, the most recently changed first.
func (v *views) listOrders(keep func(*gatewayv1.OrderView) bool) []*gatewayv1.OrderView {
	v.mu.RLock()
	var all []*gatewayv1.OrderView
	for _, o := range v.orders {
		if keep(o.view) {
			all = append(all, o.view)
		}
	}
	v.mu.RUnlock()
	slices.SortFunc(all, func(a, b *gatewayv1.OrderView) int {
		if c := b.GetChangedAt().AsTime().Compare(a.GetChangedAt().AsTime()); c != 0 {
			return c
		}
		return strings.Compare(a.GetOrderId(), b.GetOrderId())
	})
	return all
}

// GetOrder implements OrderService.
func (s *server) GetOrder(_ context.Context, r *gatewayv1.GetOrderRequest) (*gatewayv1.GetOrderResponse, error) {
	s.views.mu.RLock()
	defer s.views.mu.RUnlock()
	o := s.views.orders[r.GetOrderId()]
	if o == nil {
		return nil, fail(codes.NotFound, "ORDER_UNKNOWN", fmt.Sprintf("no order %q: neither a document nor an event has named it", r.GetOrderId()), map[string]string{"order_id": r.GetOrderId()})
	}
	return &gatewayv1.GetOrderResponse{Order: o.view}, nil
}

func pageSize(n int32) (int, error) {
	switch {
	case n == 0:
		return 50, nil
	case n < 0 || n > 500:
		return 0, badField("page_size", "must be from 1 to 500")
	}
	return int(n), nil
}

// cut returns a page of all and the token of the next one, "" at the end.
func cut[T any](all []T, from, size int) (page []T, next string) {
	from = min(from, len(all))
	to := min(from+size, len(all))
	if to < len(all) {
		next = base64.RawURLEncoding.EncodeToString([]byte("p" + strconv.Itoa(to)))
	}
	return all[from:to], next
}

func decodePage(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil && len(b) > 1 && b[0] == 'p' {
		if n, err := strconv.Atoi(string(b[1:])); err == nil && n >= 0 {
			return n, nil
		}
	}
	return 0, badField("page_token", "is not one that an earlier answer gave")
}

func later(a *timestamppb.Timestamp, b time.Time) *timestamppb.Timestamp {
	if a != nil && a.AsTime().After(b) {
		return a
	}
	return timestamppb.New(b)
}

func nonEmpty(parts ...string) []string {
	return slices.DeleteFunc(parts, func(s string) bool { return s == "" })
}
