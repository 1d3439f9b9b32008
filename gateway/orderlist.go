package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

// ListOrders implements OrderService.
func (s *server) ListOrders(_ context.Context, r *gatewayv1.ListOrdersRequest) (*gatewayv1.ListOrdersResponse, error) {
	var state eventv1.OrderState
	if r.GetState() != "" {
		n, ok := eventv1.OrderState_value["ORDER_STATE_"+strings.ToUpper(r.GetState())]
		if !ok {
			return nil, badField("state", fmt.Sprintf("%q is not an order state; for example RUNNING or COMPLETED", r.GetState()))
		}
		state = eventv1.OrderState(n)
	}
	p, err := newPage(r.GetPageSize(), r.GetPageToken(), state.String(), r.GetWorkCenter())
	if err != nil {
		return nil, err
	}
	out := &gatewayv1.ListOrdersResponse{}
	for _, o := range s.views.listOrders(func(id string, o *order) bool {
		return p.behind(o.changed, id, true) && (state == 0 || o.view.GetState() == state) && (r.GetWorkCenter() == "" || o.runsAt(r.GetWorkCenter()))
	}) {
		if !p.take(o.GetChangedAt().AsTime(), o.GetOrderId(), proto.Size(o)) {
			break
		}
		out.Orders = append(out.Orders, o)
	}
	out.NextPageToken = p.next()
	return out, nil
}

// runsAt reports whether the order has run at a work centre, or is to.
func (o *order) runsAt(center string) bool {
	return o.sum.center == center || o.doc.GetScope().GetWorkCenter() == center ||
		slices.ContainsFunc(o.doc.GetOperations(), func(op *eventv1.Operation) bool { return op.GetWorkCenter() == center })
}

// listOrders returns the orders that keep wants, the most recently changed first.
func (v *views) listOrders(keep func(id string, o *order) bool) []*gatewayv1.OrderView {
	type item struct {
		at   int64
		view *gatewayv1.OrderView
	}
	var all []item
	v.mu.RLock()
	for id, o := range v.orders.byID {
		if keep(id, o) {
			all = append(all, item{o.changed.UnixNano(), o.view})
		}
	}
	v.mu.RUnlock()
	slices.SortFunc(all, func(a, b item) int {
		if a.at != b.at {
			if a.at > b.at {
				return -1
			}
			return 1
		}
		return strings.Compare(a.view.GetOrderId(), b.view.GetOrderId())
	})
	views := make([]*gatewayv1.OrderView, len(all))
	for i := range all {
		views[i] = all[i].view
	}
	return views
}

// GetOrder implements OrderService.
func (s *server) GetOrder(_ context.Context, r *gatewayv1.GetOrderRequest) (*gatewayv1.GetOrderResponse, error) {
	if r.GetOrderId() == "" {
		return nil, badField("order_id", "is empty")
	}
	s.views.mu.RLock()
	defer s.views.mu.RUnlock()
	o := s.views.orders.byID[r.GetOrderId()]
	if o == nil {
		return nil, fail(codes.NotFound, "ORDER_UNKNOWN", fmt.Sprintf("no order %q: neither a document nor an event in view has named it", r.GetOrderId()), map[string]string{"order_id": r.GetOrderId()})
	}
	return &gatewayv1.GetOrderResponse{Order: o.view}, nil
}
