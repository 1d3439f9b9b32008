package uaserver

import (
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"
)

// publishRequest is a queued PublishRequest; its acknowledgements are done.
type publishRequest struct {
	call    call
	results []ua.StatusCode
	expires time.Time // zero: never
}

// publishService answers Publish (Part 4, 5.14.5), most of the time later.
func (s *Server) publishService(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.PublishRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.session(cl)
	if err != nil {
		return nil, err
	}
	p := &publishRequest{call: *cl, results: []ua.StatusCode{}}
	for _, a := range req.SubscriptionAcknowledgements {
		p.results = append(p.results, s.acknowledge(sess, a))
	}
	if s.subscriptionsOf(sess) == 0 && len(sess.notices) == 0 {
		return nil, ua.StatusBadNoSubscription
	}
	if hint := req.RequestHeader.TimeoutHint; hint > 0 {
		p.expires = s.opts.Now().Add(time.Duration(hint) * time.Millisecond)
	}
	// The oldest request makes room (Part 4, 5.14.5.1).
	if len(sess.publish) >= s.opts.Limits.MaxPublishRequests {
		sess.publish[0].fail(ua.StatusBadTooManyPublishRequests)
		sess.publish = sess.publish[1:]
	}
	sess.publish = append(sess.publish, p)
	sess.sendNotices()
	for _, sub := range s.lateOf(sess) {
		sub.unanswered = 0
		sub.flush()
	}
	return nil, nil
}

// lateOf lists the session's subscriptions that wait for a request, the one
// that waits longest first.
func (s *Server) lateOf(sess *session) []*subscription {
	var out []*subscription
	for _, sub := range s.subs {
		if sub.session == sess && sub.late {
			out = append(out, sub)
		}
	}
	slices.SortFunc(out, func(a, b *subscription) int {
		if a.silent != b.silent {
			return int(b.silent) - int(a.silent)
		}
		return int(a.id) - int(b.id)
	})
	return out
}

func (s *Server) acknowledge(sess *session, a *ua.SubscriptionAcknowledgement) ua.StatusCode {
	sub := s.subs[a.SubscriptionID]
	if sub == nil || sub.session != sess {
		return ua.StatusBadSubscriptionIDInvalid
	}
	for i, m := range sub.sent {
		if m.SequenceNumber == a.SequenceNumber {
			sub.sent = slices.Delete(sub.sent, i, i+1)
			return ua.StatusOK
		}
	}
	return ua.StatusBadSequenceNumberUnknown
}

// fail answers a queued request with a ServiceFault.
func (p *publishRequest) fail(code ua.StatusCode) {
	p.call.answer(&ua.ServiceFault{ResponseHeader: p.call.header(code)})
}

func (p *publishRequest) respond(subID uint32, msg *ua.NotificationMessage, available []uint32, more bool) {
	p.call.answer(&ua.PublishResponse{
		ResponseHeader: p.call.header(ua.StatusOK), SubscriptionID: subID,
		AvailableSequenceNumbers: available, MoreNotifications: more,
		NotificationMessage: msg, Results: p.results, DiagnosticInfos: []*ua.DiagnosticInfo{},
	})
}

// failPublishing answers all queued requests with a fault.
func (sess *session) failPublishing(code ua.StatusCode) {
	for _, p := range sess.publish {
		p.fail(code)
	}
	sess.publish = nil
}

// abandonPublishing drops the requests of a channel that is gone.
func (sess *session) abandonPublishing() { sess.publish = nil }

// dropExpired answers requests whose time-out hint has passed: the client no
// longer waits for them.
func (sess *session) dropExpired(now time.Time) {
	sess.publish = slices.DeleteFunc(sess.publish, func(p *publishRequest) bool {
		if p.expires.IsZero() || now.Before(p.expires) {
			return false
		}
		p.fail(ua.StatusBadTimeout)
		return true
	})
}

// request takes the oldest queued request, nil when there is none.
func (sess *session) request() *publishRequest {
	if len(sess.publish) == 0 {
		return nil
	}
	p := sess.publish[0]
	sess.publish = sess.publish[1:]
	return p
}

// sendNotices sends what subscriptions said when they left.
func (sess *session) sendNotices() {
	for len(sess.notices) > 0 {
		p := sess.request()
		if p == nil {
			return
		}
		n := sess.notices[0]
		sess.notices = sess.notices[1:]
		p.respond(n.subID, n.msg, []uint32{}, false)
	}
}

// reportable tells whether there are notifications that may be sent.
func (sub *subscription) reportable() bool { return sub.publishing && len(sub.dirty) > 0 }

// flush sends what is due as long as requests are queued; what remains is late.
func (sub *subscription) flush() {
	for sub.late && sub.session != nil && len(sub.session.publish) > 0 && !sub.removed {
		if sub.reportable() {
			sub.publishData()
		} else if sub.late = false; !sub.begun || sub.silent >= sub.keepAlive {
			sub.publishKeepAlive()
		}
	}
}

// publishKeepAlive sends a message without notifications. It carries the
// number of the next message and does not use it up (Part 4, 5.14.1.1).
func (sub *subscription) publishKeepAlive() {
	sub.begun, sub.silent = true, 0
	msg := &ua.NotificationMessage{SequenceNumber: sub.next, PublishTime: sub.s.opts.Now(), NotificationData: []*ua.ExtensionObject{}}
	sub.session.request().respond(sub.id, msg, sub.available(), false)
}

// publishData sends one message with queued notifications.
func (sub *subscription) publishData() {
	fault := sub.s.fault("Notification")
	if fault.StatusChange != 0 {
		sub.leave(fault.StatusChange)
		sub.remove()
		return
	}
	values, more := sub.collect()
	msg := sub.message(&ua.DataChangeNotification{MonitoredItems: values, DiagnosticInfos: []*ua.DiagnosticInfo{}})
	sub.begun, sub.silent, sub.late = true, 0, more
	if fault.Lose {
		return
	}
	sub.sent = append(sub.sent, msg)
	if over := len(sub.sent) - sub.s.opts.Limits.MaxRetransmission; over > 0 {
		sub.sent = slices.Delete(sub.sent, 0, over)
	}
	if fault.Withhold {
		return
	}
	p := sub.session.request()
	p.call.fault.Drop = p.call.fault.Drop || fault.Drop
	p.call.fault.Delay = max(p.call.fault.Delay, fault.Delay)
	p.respond(sub.id, msg, sub.available(), more)
}

// message numbers a notification. After 4294967295 comes 1.
func (sub *subscription) message(data any) *ua.NotificationMessage {
	msg := &ua.NotificationMessage{
		SequenceNumber: sub.next, PublishTime: sub.s.opts.Now(),
		NotificationData: []*ua.ExtensionObject{ua.NewExtensionObject(data)},
	}
	if sub.next++; sub.next == 0 {
		sub.next = 1
	}
	return msg
}

// available lists the messages that Republish can still send.
func (sub *subscription) available() []uint32 {
	out := make([]uint32, len(sub.sent))
	for i, m := range sub.sent {
		out[i] = m.SequenceNumber
	}
	return out
}

// collect takes queued values in the order in which they were set, up to the
// limit per message.
func (sub *subscription) collect() (out []*ua.MonitoredItemNotification, more bool) {
	var all []queued
	for it := range sub.dirty {
		all = append(all, it.queue...)
	}
	slices.SortStableFunc(all, func(a, b queued) int {
		if a.order != b.order {
			if a.order < b.order {
				return -1
			}
			return 1
		}
		return int(a.item.id) - int(b.item.id)
	})
	if sub.maxPerMsg > 0 && len(all) > int(sub.maxPerMsg) {
		all, more = all[:sub.maxPerMsg], true
	}
	for _, q := range all {
		q.item.queue = q.item.queue[1:]
		if len(q.item.queue) == 0 {
			q.item.queue = nil
			delete(sub.dirty, q.item)
		}
		out = append(out, &ua.MonitoredItemNotification{ClientHandle: q.item.handle, Value: stamped(q.value, q.item.stamps)})
	}
	return out, more
}

// republish answers Republish (Part 4, 5.14.6).
func (s *Server) republish(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.RepublishRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.session(cl)
	if err != nil {
		return nil, err
	}
	sub, code := s.subscription(sess, req.SubscriptionID)
	if code != ua.StatusOK {
		return nil, code
	}
	for _, m := range sub.sent {
		if m.SequenceNumber == req.RetransmitSequenceNumber {
			return &ua.RepublishResponse{ResponseHeader: cl.header(ua.StatusOK), NotificationMessage: m}, nil
		}
	}
	return nil, ua.StatusBadMessageNotAvailable
}
