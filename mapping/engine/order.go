package engine

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
)

// maxOperations is how many operations an asset remembers; the one unused for longest goes.
const maxOperations = 1024

type opKey struct{ order, operation string }

// operation is an operation that was routed to the asset, in its newest revision.
type operation struct {
	cell      *cell
	revision  uint64
	withdrawn bool
	used      uint64
	body      []byte // DispatchedOperation
	op        *eventv1.Operation
	order     *eventv1.ProductionOrder
}

// received is an operation's arrival as a rule sees it.
type received struct {
	e, old *operation // old may be nil
}

const (
	verbNew = iota
	verbChanged
	verbCancelled
)

// operation takes a dispatched operation. It applies at once, in the order of the log. A revision at or below one that
// was seen is dropped. R16
func (a *asset) operation(in *Cause, d *inboxv1.DispatchedOperation, out *Effects) {
	k := opKey{d.GetOrder().GetOrderId(), d.GetOperationId()}
	old := a.ops[k]
	if old != nil && d.GetRevision() <= old.revision {
		out.Stale++
		return
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
	if err != nil {
		return
	}
	a.clock++
	a.mark()
	now := &operation{}
	if !now.read(body) {
		return
	}
	now.used = a.clock
	verb := verbChanged
	switch known := old != nil && !old.withdrawn; {
	case now.withdrawn && !known:
		verb = -1 // nothing that anyone knows of is withdrawn
	case now.withdrawn:
		verb = verbCancelled
	case !known:
		verb = verbNew
	}
	var before *operation
	if old != nil {
		copied := *old
		before = &copied
		now.cell = old.cell
	}
	a.put(k, now)
	if verb < 0 {
		return
	}
	t := trigger{
		kind: "receive", at: nanos(in.At), cause: fmt.Sprintf("%s/%s/%d", k.order, k.operation, now.revision),
		received: &received{now, before}, after: noTime,
	}
	for _, m := range a.machines {
		r := run{m: m, in: in, out: out}
		for _, rule := range m.p.rules {
			if rule.trigger == byReceive && rule.verbs[verb] {
				m.fire(&r, rule, &t)
			}
		}
		m.flush(&r)
	}
}

// read decodes a stored operation.
func (o *operation) read(body []byte) bool {
	d := &inboxv1.DispatchedOperation{}
	if proto.Unmarshal(body, d) != nil {
		return false
	}
	o.body, o.revision, o.withdrawn, o.order = body, d.GetRevision(), d.GetWithdrawn(), d.GetOrder()
	if o.order == nil {
		o.order = &eventv1.ProductionOrder{}
	}
	o.op = &eventv1.Operation{OperationId: d.GetOperationId()}
	for _, op := range o.order.GetOperations() {
		if op.GetOperationId() == d.GetOperationId() {
			o.op = op
		}
	}
	return true
}

// put keeps an operation and its cell.
func (a *asset) put(k opKey, o *operation) {
	if o.cell == nil {
		o.cell = a.e.store.dynamic(key("o", a.path, k.order, k.operation), nil)
	}
	o.cell.encode = func(e *encoder) {
		e.text(a.path)
		e.uint(o.used)
		e.bytes(o.body)
	}
	a.ops[k] = o
	a.e.store.mark(o.cell)
	if len(a.ops) <= maxOperations {
		return
	}
	var oldest opKey
	for k, o := range a.ops {
		if x := a.ops[oldest]; x == nil || o.used < x.used {
			oldest = k
		}
	}
	a.e.store.remove(a.ops[oldest].cell)
	delete(a.ops, oldest)
}

// current is the operation of an order on this asset: the first by its id that is not withdrawn, else the first.
func (a *asset) current(order string) *operation {
	var best *operation
	var bestKey opKey
	for k, o := range a.ops {
		if k.order != order {
			continue
		}
		if best == nil || (best.withdrawn && !o.withdrawn) || (best.withdrawn == o.withdrawn && k.operation < bestKey.operation) {
			best, bestKey = o, k
		}
	}
	return best
}

// setObjects puts e, old and operation into the frame.
func (m *machine) setObjects(t *trigger) {
	set := func(slot int, o *operation) {
		m.frame.Objects[slot], m.frame.Objects[slot+1] = nil, nil
		if o != nil {
			m.frame.Objects[slot], m.frame.Objects[slot+1] = message(o.op), message(o.order)
		}
	}
	set(objectE, nil)
	set(objectOld, nil)
	if t.received != nil {
		set(objectE, t.received.e)
		set(objectOld, t.received.old)
	}
	set(objectOperation, nil)
	if m.p.operates && m.p.order >= 0 {
		if s := &m.frame.Slots[m.p.context[m.p.order].slot]; s.OK {
			set(objectOperation, m.a.current(s.Text))
		}
	}
}

func message(m proto.Message) protoreflect.Message { return m.ProtoReflect() }
