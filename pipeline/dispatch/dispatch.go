// Package dispatch turns order documents into the plant's orders: it validates them, is the only writer of order.v1,
// and appends each operation to the inbox of the asset that will run it (R16).
//
// It is a step.Machine: a function of the order.request.v1 partition that it reads. It never talks to an ERP.
package dispatch

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sort"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// Options say where orders go.
type Options struct {
	Client *kafka.Client
	// Route returns the asset of a work centre; near is the nearest known name when there is none.
	Route func(workCenter string) (asset string, ok bool, near string)
	Count func(name string, n float64)
}

// Dispatcher is the machine of one partition.
type Dispatcher struct {
	o      Options
	orders map[string]*inboxv1.DispatchedOrder
	dirty  map[string]bool
}

// New returns an empty dispatcher.
func New(o Options) *Dispatcher {
	return &Dispatcher{o: o, orders: map[string]*inboxv1.DispatchedOrder{}, dirty: map[string]bool{}}
}

var deterministic = proto.MarshalOptions{Deterministic: true}

// Apply implements step.Machine: one document in, the order and its dispatched operations out.
func (d *Dispatcher) Apply(r kafka.Record) ([]kafka.Record, error) {
	var order eventv1.ProductionOrder
	if err := proto.Unmarshal(r.Value, &order); err != nil {
		return d.reject(r, "ORDER_UNREADABLE", fmt.Errorf("the document is not a ProductionOrder: %w", err)), nil
	}
	targets, err := d.targets(&order)
	if err != nil {
		return d.reject(r, "ORDER_INVALID", err), nil
	}
	hash := sha256.Sum256(r.Value)
	last := d.orders[order.GetOrderId()]
	if last != nil && (order.GetVersion() < last.GetVersion() || order.GetVersion() == last.GetVersion() && string(hash[:]) == string(last.GetContentHash())) {
		d.o.Count("orders_repeated", 1)
		return nil, nil
	}
	next := &inboxv1.DispatchedOrder{
		OrderId: order.GetOrderId(), Version: order.GetVersion(), Revision: last.GetRevision() + 1,
		Targets: targets, ContentHash: hash[:],
	}
	d.orders[order.GetOrderId()] = next
	d.dirty[order.GetOrderId()] = true
	d.o.Count("orders_dispatched", 1)
	return d.records(&order, last, next)
}

// targets validates the order and returns the asset of each of its operations.
func (d *Dispatcher) targets(order *eventv1.ProductionOrder) (map[string]string, error) {
	if order.GetOrderId() == "" {
		return nil, errors.New("the document has no order_id")
	}
	if len(order.GetOperations()) == 0 && !order.GetDeleted() {
		return nil, fmt.Errorf("order %s has no operation, so there is nothing to send to a machine", order.GetOrderId())
	}
	targets := map[string]string{}
	for _, op := range order.GetOperations() {
		if op.GetOperationId() == "" {
			return nil, fmt.Errorf("an operation of order %s has no operation_id", order.GetOrderId())
		}
		if _, twice := targets[op.GetOperationId()]; twice {
			return nil, fmt.Errorf("order %s has operation %s twice", order.GetOrderId(), op.GetOperationId())
		}
		asset, ok, near := d.o.Route(op.GetWorkCenter())
		if !ok {
			hint := "add it as work_center to a machine table"
			if near != "" {
				hint = fmt.Sprintf("did you mean %q? Else %s", near, hint)
			}
			return nil, fmt.Errorf("operation %s of order %s is for work centre %q, which no machine has; %s", op.GetOperationId(), order.GetOrderId(), op.GetWorkCenter(), hint)
		}
		targets[op.GetOperationId()] = asset
	}
	return targets, nil
}

// records makes order.v1's record and an inbox record for every operation that goes to, or leaves, an asset.
func (d *Dispatcher) records(order *eventv1.ProductionOrder, last, next *inboxv1.DispatchedOrder) ([]kafka.Record, error) {
	v, err := deterministic.Marshal(order)
	if err != nil {
		return nil, fmt.Errorf("encoding order %s: %w", order.GetOrderId(), err)
	}
	out := []kafka.Record{{Topic: d.o.Client.Topic("order.v1"), Partition: -1, Key: []byte(order.GetOrderId()), Value: v}}
	add := func(op, asset string, withdrawn bool) error {
		v, err := deterministic.Marshal(&inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_Operation{Operation: &inboxv1.DispatchedOperation{
			Order: order, OperationId: op, Revision: next.GetRevision(), Withdrawn: withdrawn,
		}}})
		if err != nil {
			return fmt.Errorf("encoding operation %s of order %s: %w", op, order.GetOrderId(), err)
		}
		out = append(out, kafka.Record{Topic: d.o.Client.Topic("inbox.v1"), Partition: -1, Key: []byte(asset), Value: v})
		return nil
	}
	for _, op := range sortedKeys(last.GetTargets()) {
		if asset := last.GetTargets()[op]; next.GetTargets()[op] != asset {
			if err := add(op, asset, true); err != nil {
				return nil, err
			}
		}
	}
	for _, op := range sortedKeys(next.GetTargets()) {
		if err := add(op, next.GetTargets()[op], order.GetDeleted()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d *Dispatcher) reject(r kafka.Record, code string, err error) []kafka.Record {
	d.o.Count("orders_rejected", 1)
	return []kafka.Record{d.o.Client.DeadLetterRecord("dispatch", pipeline.DeadLetter{
		Stage: "dispatch", Code: code, Reason: err.Error(), Key: string(r.Key),
		ContentType: "application/x-protobuf; message=plantloom.event.v1.ProductionOrder", Body: r.Value,
	}, kafka.CauseOf(r))}
}

// Digest implements step.Machine: the dispatcher's function does not change with the configuration's files.
func (d *Dispatcher) Digest() string { return "dispatch/1" }

// Delta implements step.Machine.
func (d *Dispatcher) Delta() []byte { return d.encode(sortedKeys(d.dirty)) }

// Snapshot implements step.Machine.
func (d *Dispatcher) Snapshot() []byte { return d.encode(sortedKeys(d.orders)) }

func (d *Dispatcher) encode(ids []string) []byte {
	d.dirty = map[string]bool{}
	state := &inboxv1.DispatchState{}
	for _, id := range ids {
		state.Orders = append(state.Orders, d.orders[id])
	}
	b, err := deterministic.Marshal(state)
	if err != nil {
		panic(fmt.Sprintf("dispatch: encoding own state: %v", err)) // valid UTF-8 was checked when it was decoded
	}
	return b
}

// Restore implements step.Machine.
func (d *Dispatcher) Restore(_ string, snapshot []byte, deltas [][]byte) error {
	d.orders, d.dirty = map[string]*inboxv1.DispatchedOrder{}, map[string]bool{}
	for _, b := range append([][]byte{snapshot}, deltas...) {
		var state inboxv1.DispatchState
		if err := proto.Unmarshal(b, &state); err != nil {
			return fmt.Errorf("decoding the dispatcher's state: %w", err)
		}
		for _, o := range state.GetOrders() {
			d.orders[o.GetOrderId()] = o
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
