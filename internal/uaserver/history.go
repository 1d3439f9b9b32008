package uaserver

import (
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/gopcua/opcua/ua"
)

// HistoryStore keeps the values of historized variables. It is called with the
// server locked, from any goroutine, and must not call the server.
type HistoryStore interface {
	// Append takes a value in the order in which it was set. The value is
	// shared and must not be changed.
	Append(name string, v *ua.DataValue)
	// Read returns the values with from <= source time < to in ascending order
	// of source time, at most limit of them, without the first skip values
	// whose source time equals from. A zero from is the beginning, a zero to
	// the end. more says that values were left over.
	Read(name string, from, to time.Time, skip, limit int) (values []*ua.DataValue, more bool)
}

// MemoryHistory is a HistoryStore in memory, bounded per variable.
type MemoryHistory struct {
	// PerVariable bounds the values kept of each variable; the oldest go first.
	// 0 means 100,000.
	PerVariable int

	mu     sync.Mutex
	values map[string][]*ua.DataValue
}

// Append implements HistoryStore.
func (h *MemoryHistory) Append(name string, v *ua.DataValue) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.values == nil {
		h.values = map[string][]*ua.DataValue{}
	}
	all := h.values[name]
	at := len(all)
	for at > 0 && all[at-1].SourceTimestamp.After(v.SourceTimestamp) {
		at--
	}
	all = slices.Insert(all, at, v)
	limit := h.PerVariable
	if limit == 0 {
		limit = 100_000
	}
	h.values[name] = all[max(0, len(all)-limit):]
}

// Read implements HistoryStore.
func (h *MemoryHistory) Read(name string, from, to time.Time, skip, limit int) ([]*ua.DataValue, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return SliceHistory(h.values[name], from, to, skip, limit)
}

// SliceHistory is HistoryStore.Read over values sorted by source time.
func SliceHistory(all []*ua.DataValue, from, to time.Time, skip, limit int) ([]*ua.DataValue, bool) {
	start, _ := slices.BinarySearchFunc(all, from, func(v *ua.DataValue, t time.Time) int { return v.SourceTimestamp.Compare(t) })
	for skip > 0 && start < len(all) && all[start].SourceTimestamp.Equal(from) {
		start++
		skip--
	}
	end := len(all)
	if !to.IsZero() {
		end, _ = slices.BinarySearchFunc(all, to, func(v *ua.DataValue, t time.Time) int { return v.SourceTimestamp.Compare(t) })
	}
	if end <= start {
		return nil, false
	}
	more := end-start > limit
	if more {
		end = start + limit
	}
	return slices.Clone(all[start:end]), more
}

// historyRest is what a continuation point stands for.
type historyRest struct {
	name     string
	from, to time.Time
	skip     int
	back     []*ua.DataValue // the rest of a backward read, newest first
	perPage  int
}

// historyRead answers HistoryRead of raw data (Part 4, 5.11.3; Part 11, 6.5.3):
// values from StartTime up to but not including EndTime, without bounds.
func (s *Server) historyRead(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.HistoryReadRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.session(cl)
	if err != nil {
		return nil, err
	}
	if err := countAllowed(len(req.NodesToRead), s.opts.Limits.MaxNodesPerHistoryRead); err != nil {
		return nil, err
	}
	var details *ua.ReadRawModifiedDetails
	if req.HistoryReadDetails != nil {
		details, _ = req.HistoryReadDetails.Value.(*ua.ReadRawModifiedDetails)
	}
	resp := &ua.HistoryReadResponse{ResponseHeader: cl.header(ua.StatusOK), DiagnosticInfos: []*ua.DiagnosticInfo{}}
	for _, n := range req.NodesToRead {
		res := &ua.HistoryReadResult{StatusCode: cl.fault.ItemStatus, HistoryData: ua.NewExtensionObject(nil)}
		switch {
		case res.StatusCode != ua.StatusOK:
		case req.ReleaseContinuationPoints:
			delete(sess.history, string(n.ContinuationPoint))
		case details == nil || details.IsReadModified || details.ReturnBounds:
			res.StatusCode = ua.StatusBadHistoryOperationUnsupported
		case len(n.ContinuationPoint) > 0:
			rest, ok := sess.history[string(n.ContinuationPoint)]
			delete(sess.history, string(n.ContinuationPoint))
			if !ok {
				res.StatusCode = ua.StatusBadContinuationPointInvalid
				break
			}
			s.historyPage(sess, rest, req.TimestampsToReturn, res)
		default:
			s.historyFirst(sess, n, details, req.TimestampsToReturn, res)
		}
		resp.Results = append(resp.Results, res)
	}
	return resp, nil
}

// farFuture turns the end times that overflow the library's decoder (they come
// out before 1900) into "no end".
func farFuture(t time.Time) time.Time {
	if t.Year() < 1900 {
		return time.Time{}
	}
	return t
}

// historyFirst starts a read.
func (s *Server) historyFirst(sess *session, n *ua.HistoryReadValueID, d *ua.ReadRawModifiedDetails, stamps ua.TimestampsToReturn, res *ua.HistoryReadResult) {
	var v *Var
	if n.NodeID != nil {
		v = s.nodes[n.NodeID.String()]
	}
	from, to := farFuture(d.StartTime), farFuture(d.EndTime)
	switch {
	case v == nil:
		res.StatusCode = ua.StatusBadNodeIDUnknown
		return
	case !v.history || s.opts.History == nil:
		res.StatusCode = ua.StatusBadHistoryOperationUnsupported
		return
	case n.IndexRange != "" || stamps > ua.TimestampsToReturnBoth:
		res.StatusCode = ua.StatusBadInvalidArgument
		return
	case from.IsZero() && to.IsZero(), (from.IsZero() || to.IsZero()) && d.NumValuesPerNode == 0:
		// Two of start, end and number are needed.
		res.StatusCode = ua.StatusBadInvalidArgument
		return
	}
	rest := historyRest{name: v.name, from: from, to: to, perPage: int(s.opts.Limits.MaxHistoryValues)}
	if d.NumValuesPerNode > 0 {
		rest.perPage = min(rest.perPage, int(d.NumValuesPerNode))
	}
	switch {
	case from.Equal(to):
		rest.to = to.Add(tick)
	case from.IsZero() || !to.IsZero() && to.Before(from):
		// Backwards: from the later time, included, to the earlier, excluded.
		low, high := to, from
		if from.IsZero() {
			low, high = time.Time{}, to
		}
		all, _ := s.opts.History.Read(v.name, low, high.Add(tick), 0, int(^uint(0)>>1))
		rest.back = slices.DeleteFunc(all, func(dv *ua.DataValue) bool { return !low.IsZero() && dv.SourceTimestamp.Equal(low) })
		slices.Reverse(rest.back)
		if len(rest.back) == 0 {
			res.StatusCode = ua.StatusGoodNoData
			res.HistoryData = ua.NewExtensionObject(&ua.HistoryData{DataValues: []*ua.DataValue{}})
			return
		}
	}
	s.historyPage(sess, rest, stamps, res)
}

// historyPage returns the next values and, if there are more, a new
// continuation point.
func (s *Server) historyPage(sess *session, rest historyRest, stamps ua.TimestampsToReturn, res *ua.HistoryReadResult) {
	var values []*ua.DataValue
	var more bool
	if rest.back != nil {
		n := min(rest.perPage, len(rest.back))
		values, rest.back = rest.back[:n], rest.back[n:]
		more = len(rest.back) > 0
	} else {
		values, more = s.opts.History.Read(rest.name, rest.from, rest.to, rest.skip, rest.perPage)
		rest.advance(values)
	}
	if more {
		if len(sess.history) >= s.opts.Limits.MaxHistoryContinuationPoints {
			res.StatusCode = ua.StatusBadNoContinuationPoints
			return
		}
		point := rand.Text()
		sess.history[point] = rest
		res.ContinuationPoint = []byte(point)
	}
	data := &ua.HistoryData{DataValues: make([]*ua.DataValue, len(values))}
	for i, v := range values {
		data.DataValues[i] = stamped(v, stamps)
	}
	if len(values) == 0 {
		res.StatusCode = ua.StatusGoodNoData
	}
	res.HistoryData = ua.NewExtensionObject(data)
}

// advance moves the start behind values, counting those that share the last
// source time.
func (r *historyRest) advance(values []*ua.DataValue) {
	for _, v := range values {
		if v.SourceTimestamp.Equal(r.from) {
			r.skip++
			continue
		}
		r.from, r.skip = v.SourceTimestamp, 1
	}
}
