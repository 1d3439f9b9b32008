package http

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"time"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/pipeline"
)

var _ pipeline.Source = (*source)(nil)

// source polls released orders.
type source struct {
	client *client
	orders *Orders
	host   pipeline.Host
}

// compiledOrders is what the texts of Orders become at load.
type compiledOrders struct {
	path        *path
	items, next *formula
	order       *message
}

// DecodeConf reads and compiles the section.
func (o *Orders) DecodeConf(n *conf.Node, faults *conf.Faults) {
	type plain Orders
	o.Interval = 5 * time.Second
	conf.Decode(n, (*plain)(o), faults)
	o.compiled = compiledOrders{
		path:  compilePath(o.Path, sinceScope(), faults),
		items: compileFormula(o.Items, answerScope(), faults),
		next:  compileFormula(o.Next, answerScope(), faults),
	}
	if o.Order.Exists() {
		descriptor := (&eventv1.ProductionOrder{}).ProtoReflect().Descriptor()
		o.compiled.order = compileMessage(o.Order, descriptor, orderScope(), faults)
	}
}

// place is the source's cursor: how far the peer's changes have been taken.
type place struct {
	Since string `json:"since"`
}

// Run polls until ctx ends, or until the peer cannot be read.
func (s *source) Run(ctx context.Context, cursor []byte, out pipeline.Outlet) error {
	at := place{Since: s.orders.Start}
	if cursor != nil {
		if err := json.Unmarshal(cursor, &at); err != nil {
			return fmt.Errorf("reading the saved cursor: %w", err)
		}
	}
	defer s.client.http.CloseIdleConnections()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last page
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		now, err := s.poll(ctx, at)
		if err == nil && !now.equal(last) {
			err = s.emit(ctx, now, out)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.client.status.set(pipeline.Down, err.Error())
			return err
		}
		s.client.status.set(pipeline.Running, "")
		moved := now.next != at // durable first: the cursor moves only after Emit
		at, last = now.next, now
		if moved && len(now.items) > 0 {
			timer.Reset(0)
			continue
		}
		timer.Reset(s.orders.Interval)
	}
}

// page is one answer of the peer.
type page struct {
	from, next place
	text       []byte
	items      []any // with numbers as written
}

// equal says that nothing is new: the same question got the same answer.
func (p page) equal(q page) bool {
	return p.from == q.from && p.text != nil && bytes.Equal(p.text, q.text)
}

// poll asks once for what changed after at.
func (s *source) poll(ctx context.Context, at place) (page, error) {
	c := &s.orders.compiled
	target, err := c.path.render(map[string]any{"since": at.Since})
	if err != nil {
		return page{}, fmt.Errorf("making the poll: %w", err)
	}
	a, fault := s.client.do(ctx, nethttp.MethodGet, target, nil, "")
	if fault != nil {
		return page{}, fmt.Errorf("polling orders: %w", fault.err)
	}
	if a.status != nethttp.StatusOK || a.json != nil {
		return page{}, fmt.Errorf("polling orders: %w", s.client.describe(a))
	}
	env := map[string]any{"status": a.status, "text": string(a.text), "answer": a.raw, "sent": nil}
	items, err := c.items.eval(env)
	if err != nil {
		return page{}, fmt.Errorf("polling orders: %w", err)
	}
	list, ok := items.([]any)
	if !ok {
		return page{}, fmt.Errorf("polling orders: %s: %q gives no list in this answer%s", c.items.at, c.items.text, quote(a))
	}
	p := page{from: at, next: at, text: a.text, items: list}
	if c.next == nil {
		return p, nil
	}
	env["answer"] = a.value
	next, err := c.next.eval(env)
	if err != nil {
		return page{}, fmt.Errorf("polling orders: %w", err)
	}
	if p.next.Since, err = plainText(next); err != nil || p.next.Since == "" {
		return page{}, fmt.Errorf("polling orders: %s: %q gives no next place in this answer%s", c.next.at, c.next.text, quote(a))
	}
	return p, nil
}

// emit hands the page over as one batch: the orders, what could not be read,
// and the place behind both. Nothing is dropped.
func (s *source) emit(ctx context.Context, p page, out pipeline.Outlet) error {
	if len(p.items) == 0 && p.next == p.from {
		return nil
	}
	cursor, err := json.Marshal(p.next)
	if err != nil {
		return fmt.Errorf("encoding the cursor: %w", err)
	}
	batch := pipeline.Batch{State: pipeline.StateLive, Cursor: cursor}
	for _, item := range p.items {
		order, err := s.read(item)
		if err != nil {
			batch.Dead = append(batch.Dead, s.dead(item, err))
			continue
		}
		batch.Orders = append(batch.Orders, order)
	}
	if err := out.Emit(ctx, batch); err != nil {
		return fmt.Errorf("handing over orders: %w", err)
	}
	s.host.Count("orders", float64(len(batch.Orders)))
	s.host.Count("unreadable_orders", float64(len(batch.Dead)))
	return nil
}

// read maps one item of the answer.
func (s *source) read(item any) (*eventv1.ProductionOrder, error) {
	order := &eventv1.ProductionOrder{}
	if err := s.orders.compiled.order.build(order.ProtoReflect(), map[string]any{"o": numbersForFormulas(item), "it": nil}); err != nil {
		return nil, err
	}
	if order.GetOrderId() == "" {
		return nil, fmt.Errorf("order_id is empty")
	}
	if order.GetSourceSystem() == "" {
		order.SourceSystem = s.host.ID
	}
	return order, nil
}

// dead keeps an item that could not be mapped, as it came.
func (s *source) dead(item any, why error) pipeline.DeadLetter {
	body, err := encodeValue(item)
	if err != nil {
		body = []byte(fmt.Sprint(item))
	}
	s.host.Log.Error("an order could not be read; mend orders.order or the peer, then release it again",
		"connector", s.host.ID, "err", why)
	return pipeline.DeadLetter{
		Stage: "source", Code: "ORDER_UNREADABLE", Reason: why.Error(), Key: s.key(item),
		ContentType: "application/json", Body: body, Details: map[string]string{"connector": s.host.ID},
	}
}

// key is the item's order number if that much can be read.
func (s *source) key(item any) string {
	env := map[string]any{"o": numbersForFormulas(item), "it": nil}
	for _, f := range s.orders.compiled.order.fields {
		if f.descriptor.Name() != "order_id" || f.value == nil {
			continue
		}
		if value, err := f.value.eval(env); err == nil {
			if text, err := plainText(value); err == nil {
				return text
			}
		}
	}
	return ""
}
