package uaserver

import (
	"math"
	"time"

	"github.com/gopcua/opcua/ua"
)

// overflow is the info bits of a value before which others were lost: InfoType
// DataValue, Overflow (Part 4, 7.39.1).
const overflow ua.StatusCode = 0x480

// item is one monitored item. Guarded by Server.mu.
type item struct {
	sub    *subscription
	id     uint32
	handle uint32
	stamps ua.TimestampsToReturn
	mode   ua.MonitoringMode

	node *Var          // nil for anything but the Value attribute of our nodes
	last *ua.DataValue // newest sampled value, nil before the first
	what *ua.ReadValueID

	size          uint32
	discardOldest bool
	sampling      time.Duration // 0: by exception
	trigger       ua.DataChangeTrigger
	deadband      float64

	queue []queued
	// held is a value inside a sampling interval that has not ended yet.
	held      *ua.DataValue
	heldOrder uint64
	heldIn    int64
}

// queued is a value on its way to the client.
type queued struct {
	item  *item
	value *ua.DataValue
	order uint64
}

// createItems answers CreateMonitoredItems (Part 4, 5.13.2).
func (s *Server) createItems(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.CreateMonitoredItemsRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.session(cl)
	if err != nil {
		return nil, err
	}
	if err := countAllowed(len(req.ItemsToCreate), s.opts.Limits.MaxMonitoredItemsPerCall); err != nil {
		return nil, err
	}
	if req.TimestampsToReturn > ua.TimestampsToReturnNeither {
		return nil, ua.StatusBadTimestampsToReturnInvalid
	}
	sub, code := s.subscription(sess, req.SubscriptionID)
	if code != ua.StatusOK {
		return nil, code
	}
	resp := &ua.CreateMonitoredItemsResponse{ResponseHeader: cl.header(ua.StatusOK), DiagnosticInfos: []*ua.DiagnosticInfo{}}
	for _, r := range req.ItemsToCreate {
		res := &ua.MonitoredItemCreateResult{StatusCode: cl.fault.ItemStatus, FilterResult: ua.NewExtensionObject(nil)}
		if res.StatusCode == ua.StatusOK {
			sub.create(r, req.TimestampsToReturn, res)
		}
		resp.Results = append(resp.Results, res)
	}
	return resp, nil
}

// create makes one item, or says in res why not.
func (sub *subscription) create(r *ua.MonitoredItemCreateRequest, stamps ua.TimestampsToReturn, res *ua.MonitoredItemCreateResult) {
	s := sub.s
	if len(sub.items) >= s.opts.Limits.MaxMonitoredItemsPerSubscription {
		res.StatusCode = ua.StatusBadTooManyMonitoredItems
		return
	}
	if r.MonitoringMode > ua.MonitoringModeReporting {
		res.StatusCode = ua.StatusBadMonitoringModeInvalid
		return
	}
	now := s.opts.Now()
	first, code := s.readOne(r.ItemToMonitor, now)
	if code != ua.StatusOK {
		res.StatusCode = code
		return
	}
	it := &item{sub: sub, handle: r.RequestedParameters.ClientHandle, stamps: stamps, mode: r.MonitoringMode, what: r.ItemToMonitor}
	if r.ItemToMonitor.AttributeID == ua.AttributeIDValue {
		it.node = s.nodes[r.ItemToMonitor.NodeID.String()]
	}
	if res.StatusCode = it.configure(r.RequestedParameters); res.StatusCode != ua.StatusOK {
		return
	}
	s.nextItem++
	it.id = s.nextItem
	sub.items[it.id] = it
	if it.node != nil {
		it.node.items[it] = struct{}{}
	}
	if it.mode != ua.MonitoringModeDisabled {
		it.last = first
		it.enqueue(first, s.changed)
	}
	res.MonitoredItemID, res.RevisedQueueSize, res.RevisedSamplingInterval = it.id, it.size, milliseconds(it.sampling)
}

// configure applies the parameters as far as they can be granted.
func (it *item) configure(p *ua.MonitoringParameters) ua.StatusCode {
	lim := &it.sub.s.opts.Limits
	it.trigger, it.deadband = ua.DataChangeTriggerStatusValue, 0
	if code := it.filter(p.Filter); code != ua.StatusOK {
		return code
	}
	it.size = min(max(p.QueueSize, 1), lim.MaxQueueSize)
	it.discardOldest = p.DiscardOldest
	switch {
	case p.SamplingInterval < 0 || math.IsNaN(p.SamplingInterval):
		it.sampling = it.sub.interval
	default:
		it.sampling = time.Duration(min(p.SamplingInterval, milliseconds(time.Hour)) * float64(time.Millisecond))
	}
	it.sampling = max(it.sampling, lim.MinSamplingInterval)
	return ua.StatusOK
}

// change takes a new value of the variable.
func (it *item) change(dv *ua.DataValue, order uint64, now time.Time) {
	if it.mode == ua.MonitoringModeDisabled {
		return
	}
	if it.sampling == 0 {
		it.report(dv, order)
		return
	}
	// The sampler sees, at the end of each interval, the newest value.
	in := now.UnixNano() / int64(it.sampling)
	if it.held != nil && in != it.heldIn {
		it.report(it.held, it.heldOrder)
	}
	it.held, it.heldOrder, it.heldIn = dv, order, in
}

// sample runs at every publishing interval: it ends sampling intervals and
// reads nodes whose value is computed.
func (it *item) sample(now time.Time) {
	if it.held != nil && now.UnixNano()/int64(it.sampling) != it.heldIn {
		it.report(it.held, it.heldOrder)
		it.held = nil
	}
	if it.mode != ua.MonitoringModeDisabled && it.node != nil && it.node.read != nil {
		it.report(it.node.current(now), it.sub.s.changed)
	}
}

// report queues dv when the trigger and the deadband let it pass.
func (it *item) report(dv *ua.DataValue, order uint64) {
	if it.last != nil && !it.triggered(it.last, dv) {
		return
	}
	it.last = dv
	it.enqueue(dv, order)
}

// enqueue applies the queue's size and discard policy (Part 4, 5.13.1.5). A
// queue of one carries no overflow bit.
func (it *item) enqueue(dv *ua.DataValue, order uint64) {
	q := queued{it, dv, order}
	if uint32(len(it.queue)) < it.size {
		it.queue = append(it.queue, q)
	} else if it.discardOldest || it.size == 1 {
		it.queue = append(it.queue[1:], q)
		it.markOverflow(0)
	} else {
		it.queue[len(it.queue)-1] = q
		it.markOverflow(len(it.queue) - 1)
	}
	if it.mode == ua.MonitoringModeReporting {
		it.sub.dirty[it] = struct{}{}
	}
}

// markOverflow sets the bits on a copy: values are shared between items.
func (it *item) markOverflow(i int) {
	if it.size == 1 {
		return
	}
	dv := *it.queue[i].value
	dv.Status |= overflow
	dv.EncodingMask |= ua.DataValueStatusCode
	it.queue[i].value = &dv
}

// repeat queues the last value after a transfer, unless one is queued already
// (Part 4, 5.14.7.2).
func (it *item) repeat() {
	if it.mode == ua.MonitoringModeReporting && len(it.queue) == 0 && it.last != nil {
		it.enqueue(it.last, it.sub.s.changed)
	}
}

// setMode changes the monitoring mode.
func (it *item) setMode(m ua.MonitoringMode) {
	was := it.mode
	it.mode = m
	switch {
	case m == ua.MonitoringModeDisabled:
		it.queue, it.held, it.last = nil, nil, nil
		delete(it.sub.dirty, it)
	case m == ua.MonitoringModeSampling:
		delete(it.sub.dirty, it)
	case len(it.queue) > 0:
		it.sub.dirty[it] = struct{}{}
	}
	if was == ua.MonitoringModeDisabled && m != was {
		it.last = it.sub.s.valueOf(it.what, it.sub.s.opts.Now())
		it.enqueue(it.last, it.sub.s.changed)
	}
}

// detach removes the item from its variable.
func (it *item) detach() {
	if it.node != nil {
		delete(it.node.items, it)
	}
	delete(it.sub.dirty, it)
}
