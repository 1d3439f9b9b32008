package uaserver

import (
	"time"

	"github.com/gopcua/opcua/ua"
)

// subscription is one subscription and its retransmission queue. It belongs to
// a session or, after the session ended, to nobody until it is transferred or
// its lifetime ends. Guarded by Server.mu.
type subscription struct {
	s       *Server
	id      uint32
	session *session
	user    string

	interval   time.Duration
	keepAlive  uint32 // publishing intervals
	lifetime   uint32 // publishing intervals
	maxPerMsg  uint32 // notifications per message, 0 = no limit
	publishing bool

	items map[uint32]*item
	dirty map[*item]struct{} // items with queued values to report

	next       uint32 // sequence number of the next message
	sent       []*ua.NotificationMessage
	begun      bool   // the first message was sent
	late       bool   // something is due and no request was there
	silent     uint32 // intervals since the last message
	unanswered uint32 // intervals without a publish request

	reset   chan struct{} // the interval changed
	stop    chan struct{}
	removed bool
}

// notice is the last message of a subscription that left its session.
type notice struct {
	subID uint32
	msg   *ua.NotificationMessage
}

// createSubscription answers CreateSubscription (Part 4, 5.14.2).
func (s *Server) createSubscription(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.CreateSubscriptionRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.session(cl)
	if err != nil {
		return nil, err
	}
	if s.closed {
		return nil, ua.StatusBadShutdown
	}
	if s.subscriptionsOf(sess) >= s.opts.Limits.MaxSubscriptionsPerSession {
		return nil, ua.StatusBadTooManySubscriptions
	}
	s.nextSub++
	sub := &subscription{
		s: s, id: s.nextSub, session: sess, user: sess.user, publishing: req.PublishingEnabled,
		items: map[uint32]*item{}, dirty: map[*item]struct{}{}, next: s.opts.Limits.FirstSequenceNumber,
		reset: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	sub.revise(req.RequestedPublishingInterval, req.RequestedMaxKeepAliveCount, req.RequestedLifetimeCount, req.MaxNotificationsPerPublish)
	s.subs[sub.id] = sub
	interval := sub.interval
	s.wg.Go(func() { sub.run(interval) })
	s.log.Info("subscription created", "id", sub.id, "interval", sub.interval, "session", sess.name)
	return &ua.CreateSubscriptionResponse{
		ResponseHeader: cl.header(ua.StatusOK), SubscriptionID: sub.id,
		RevisedPublishingInterval: milliseconds(sub.interval),
		RevisedLifetimeCount:      sub.lifetime, RevisedMaxKeepAliveCount: sub.keepAlive,
	}, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// revise sets what is granted of what was asked: 0 means the fastest interval,
// the lifetime is at least three keep-alives (Part 4, 5.14.2.2).
func (sub *subscription) revise(interval float64, keepAlive, lifetime, maxPerMsg uint32) {
	lim := &sub.s.opts.Limits
	sub.interval = lim.MinPublishingInterval
	if interval > milliseconds(lim.MaxPublishingInterval) {
		sub.interval = lim.MaxPublishingInterval
	} else if interval > 0 {
		sub.interval = max(sub.interval, time.Duration(interval*float64(time.Millisecond)))
	}
	sub.keepAlive = min(max(keepAlive, 1), lim.MaxKeepAliveCount)
	sub.lifetime = max(min(lifetime, lim.MaxLifetimeCount), 3*sub.keepAlive)
	sub.maxPerMsg = maxPerMsg
	if lim.MaxNotificationsPerPublish > 0 && (maxPerMsg == 0 || maxPerMsg > lim.MaxNotificationsPerPublish) {
		sub.maxPerMsg = lim.MaxNotificationsPerPublish
	}
}

func (s *Server) subscriptionsOf(sess *session) int {
	n := 0
	for _, sub := range s.subs {
		if sub.session == sess {
			n++
		}
	}
	return n
}

// subscription returns a subscription of the caller's session and restarts its
// lifetime. The caller holds Server.mu.
func (s *Server) subscription(sess *session, id uint32) (*subscription, ua.StatusCode) {
	sub := s.subs[id]
	if sub == nil || sub.session != sess {
		return nil, ua.StatusBadSubscriptionIDInvalid
	}
	sub.unanswered = 0
	return sub, ua.StatusOK
}

// modifySubscription answers ModifySubscription (Part 4, 5.14.3).
func (s *Server) modifySubscription(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.ModifySubscriptionRequest)
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
	sub.revise(req.RequestedPublishingInterval, req.RequestedMaxKeepAliveCount, req.RequestedLifetimeCount, req.MaxNotificationsPerPublish)
	select {
	case sub.reset <- struct{}{}:
	default:
	}
	return &ua.ModifySubscriptionResponse{
		ResponseHeader: cl.header(ua.StatusOK), RevisedPublishingInterval: milliseconds(sub.interval),
		RevisedLifetimeCount: sub.lifetime, RevisedMaxKeepAliveCount: sub.keepAlive,
	}, nil
}

// each applies f to every subscription id of a request.
func (s *Server) each(cl *call, ids []uint32, f func(*subscription)) ([]ua.StatusCode, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.session(cl)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, ua.StatusBadNothingToDo
	}
	results := make([]ua.StatusCode, len(ids))
	for i, id := range ids {
		var sub *subscription
		if sub, results[i] = s.subscription(sess, id); sub != nil {
			f(sub)
		}
	}
	if s.subscriptionsOf(sess) == 0 {
		sess.failPublishing(ua.StatusBadNoSubscription)
	}
	return results, nil
}

// setPublishingMode answers SetPublishingMode (Part 4, 5.14.4).
func (s *Server) setPublishingMode(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.SetPublishingModeRequest)
	results, err := s.each(cl, req.SubscriptionIDs, func(sub *subscription) { sub.publishing = req.PublishingEnabled })
	if err != nil {
		return nil, err
	}
	return &ua.SetPublishingModeResponse{ResponseHeader: cl.header(ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, nil
}

// deleteSubscriptions answers DeleteSubscriptions (Part 4, 5.14.8).
func (s *Server) deleteSubscriptions(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.DeleteSubscriptionsRequest)
	results, err := s.each(cl, req.SubscriptionIDs, (*subscription).remove)
	if err != nil {
		return nil, err
	}
	return &ua.DeleteSubscriptionsResponse{ResponseHeader: cl.header(ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, nil
}

// remove deletes the subscription and its items.
func (sub *subscription) remove() {
	if sub.removed {
		return
	}
	sub.removed = true
	close(sub.stop)
	delete(sub.s.subs, sub.id)
	for _, it := range sub.items {
		it.detach()
	}
}

// run is the publishing timer. It ends when the subscription is removed.
func (sub *subscription) run(interval time.Duration) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-sub.stop:
			return
		case <-sub.reset:
			sub.s.mu.Lock()
			t.Reset(sub.interval)
			sub.s.mu.Unlock()
		case <-t.C:
			sub.s.mu.Lock()
			if !sub.removed {
				sub.tick()
			}
			sub.s.mu.Unlock()
		}
	}
}

// tick is one publishing interval (the state machine of Part 4, 5.14.1.2).
func (sub *subscription) tick() {
	now := sub.s.opts.Now()
	for _, it := range sub.items {
		it.sample(now)
	}
	if sub.session != nil {
		sub.session.dropExpired(now)
	}
	if sub.session != nil && len(sub.session.publish) > 0 {
		sub.unanswered = 0
	} else if sub.unanswered++; sub.unanswered >= sub.lifetime {
		sub.expire()
		return
	}
	sub.silent++
	if sub.reportable() || !sub.begun || sub.silent >= sub.keepAlive {
		sub.late = true
		sub.flush()
	}
}

// expire ends the subscription's life: its session, if any, is told once.
func (sub *subscription) expire() {
	sub.s.log.Info("subscription timed out", "id", sub.id)
	sub.leave(ua.StatusBadTimeout)
	sub.remove()
}
