package uaserver

import "github.com/gopcua/opcua/ua"

// eachItem applies f to items of a subscription and returns a status per item.
func (s *Server) eachItem(cl *call, subID uint32, n int, id func(i int) uint32, f func(i int, it *item) ua.StatusCode) ([]ua.StatusCode, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.session(cl)
	if err != nil {
		return nil, err
	}
	if err := countAllowed(n, s.opts.Limits.MaxMonitoredItemsPerCall); err != nil {
		return nil, err
	}
	sub, code := s.subscription(sess, subID)
	if code != ua.StatusOK {
		return nil, code
	}
	results := make([]ua.StatusCode, n)
	for i := range results {
		it := sub.items[id(i)]
		if it == nil {
			results[i] = ua.StatusBadMonitoredItemIDInvalid
			continue
		}
		results[i] = f(i, it)
	}
	return results, nil
}

// deleteItems answers DeleteMonitoredItems (Part 4, 5.13.6).
func (s *Server) deleteItems(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.DeleteMonitoredItemsRequest)
	results, err := s.eachItem(cl, req.SubscriptionID, len(req.MonitoredItemIDs),
		func(i int) uint32 { return req.MonitoredItemIDs[i] },
		func(_ int, it *item) ua.StatusCode {
			it.detach()
			delete(it.sub.items, it.id)
			return ua.StatusOK
		})
	if err != nil {
		return nil, err
	}
	return &ua.DeleteMonitoredItemsResponse{ResponseHeader: cl.header(ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, nil
}

// setMonitoringMode answers SetMonitoringMode (Part 4, 5.13.4).
func (s *Server) setMonitoringMode(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.SetMonitoringModeRequest)
	if req.MonitoringMode > ua.MonitoringModeReporting {
		return nil, ua.StatusBadMonitoringModeInvalid
	}
	results, err := s.eachItem(cl, req.SubscriptionID, len(req.MonitoredItemIDs),
		func(i int) uint32 { return req.MonitoredItemIDs[i] },
		func(_ int, it *item) ua.StatusCode {
			it.setMode(req.MonitoringMode)
			return ua.StatusOK
		})
	if err != nil {
		return nil, err
	}
	return &ua.SetMonitoringModeResponse{ResponseHeader: cl.header(ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, nil
}

// modifyItems answers ModifyMonitoredItems (Part 4, 5.13.3).
func (s *Server) modifyItems(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.ModifyMonitoredItemsRequest)
	out := make([]*ua.MonitoredItemModifyResult, len(req.ItemsToModify))
	for i := range out {
		out[i] = &ua.MonitoredItemModifyResult{FilterResult: ua.NewExtensionObject(nil)}
	}
	results, err := s.eachItem(cl, req.SubscriptionID, len(req.ItemsToModify),
		func(i int) uint32 { return req.ItemsToModify[i].MonitoredItemID },
		func(i int, it *item) ua.StatusCode {
			p := req.ItemsToModify[i].RequestedParameters
			if code := it.configure(p); code != ua.StatusOK {
				return code
			}
			it.handle, it.stamps = p.ClientHandle, req.TimestampsToReturn
			for uint32(len(it.queue)) > it.size {
				it.queue = it.queue[1:]
				it.markOverflow(0)
			}
			out[i].RevisedQueueSize, out[i].RevisedSamplingInterval = it.size, milliseconds(it.sampling)
			return ua.StatusOK
		})
	if err != nil {
		return nil, err
	}
	for i, code := range results {
		out[i].StatusCode = code
	}
	return &ua.ModifyMonitoredItemsResponse{ResponseHeader: cl.header(ua.StatusOK), Results: out, DiagnosticInfos: []*ua.DiagnosticInfo{}}, nil
}
