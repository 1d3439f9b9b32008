package uaserver

import "github.com/gopcua/opcua/ua"

// leave queues a StatusChange for the session that the subscription leaves. It
// takes the number of the next message without using it up: to a new owner no
// message is missing.
func (sub *subscription) leave(code ua.StatusCode) {
	sess := sub.session
	if sess == nil {
		return
	}
	next := sub.next
	msg := sub.message(&ua.StatusChangeNotification{Status: code, DiagnosticInfo: &ua.DiagnosticInfo{}})
	sub.next = next
	sess.notices = append(sess.notices, notice{sub.id, msg})
	sess.sendNotices()
}

// transferSubscriptions answers TransferSubscriptions (Part 4, 5.14.7).
func (s *Server) transferSubscriptions(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.TransferSubscriptionsRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.session(cl)
	if err != nil {
		return nil, err
	}
	if len(req.SubscriptionIDs) == 0 {
		return nil, ua.StatusBadNothingToDo
	}
	resp := &ua.TransferSubscriptionsResponse{ResponseHeader: cl.header(ua.StatusOK), DiagnosticInfos: []*ua.DiagnosticInfo{}}
	for _, id := range req.SubscriptionIDs {
		r := &ua.TransferResult{StatusCode: cl.fault.ItemStatus, AvailableSequenceNumbers: []uint32{}}
		if r.StatusCode == ua.StatusOK {
			s.transfer(sess, id, req.SendInitialValues, r)
		}
		resp.Results = append(resp.Results, r)
	}
	return resp, nil
}

func (s *Server) transfer(sess *session, id uint32, initial bool, r *ua.TransferResult) {
	sub := s.subs[id]
	switch {
	case sub == nil:
		r.StatusCode = ua.StatusBadSubscriptionIDInvalid
		return
	case sub.user != sess.user:
		r.StatusCode = ua.StatusBadUserAccessDenied
		return
	case sub.session != sess:
		if s.subscriptionsOf(sess) >= s.opts.Limits.MaxSubscriptionsPerSession {
			r.StatusCode = ua.StatusBadTooManySubscriptions
			return
		}
		old := sub.session
		sub.leave(ua.StatusGoodSubscriptionTransferred)
		sub.session = sess
		if old != nil && s.subscriptionsOf(old) == 0 {
			old.failPublishing(ua.StatusBadNoSubscription)
		}
	}
	sub.unanswered, sub.silent = 0, 0
	r.AvailableSequenceNumbers = sub.available()
	if initial {
		for _, it := range sub.items {
			it.repeat()
		}
	}
	s.log.Info("subscription transferred", "id", id, "session", sess.name)
}
