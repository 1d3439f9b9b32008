package uaserver

import (
	"time"

	"github.com/gopcua/opcua/ua"
)

// readService answers Read (Part 4, 5.11.2).
func (s *Server) readService(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.ReadRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.session(cl); err != nil {
		return nil, err
	}
	if err := countAllowed(len(req.NodesToRead), s.opts.Limits.MaxNodesPerRead); err != nil {
		return nil, err
	}
	if req.TimestampsToReturn > ua.TimestampsToReturnNeither {
		return nil, ua.StatusBadTimestampsToReturnInvalid
	}
	now := s.opts.Now()
	resp := &ua.ReadResponse{ResponseHeader: cl.header(ua.StatusOK), DiagnosticInfos: []*ua.DiagnosticInfo{}}
	for _, r := range req.NodesToRead {
		resp.Results = append(resp.Results, stamped(s.valueOf(r, now), req.TimestampsToReturn))
	}
	return resp, nil
}

// valueOf is readOne with the reason as a value when nothing can be read.
func (s *Server) valueOf(r *ua.ReadValueID, now time.Time) *ua.DataValue {
	dv, code := s.readOne(r, now)
	if code != ua.StatusOK {
		return badValue(code, now)
	}
	return dv
}

// readOne reads one attribute. A code other than Good means that there is no
// such node or attribute; a variable's own bad status comes with its value.
// The caller holds Server.mu.
func (s *Server) readOne(r *ua.ReadValueID, now time.Time) (*ua.DataValue, ua.StatusCode) {
	if r.NodeID == nil {
		return nil, ua.StatusBadNodeIDInvalid
	}
	if code := plainValue(r); code != ua.StatusOK {
		return nil, code
	}
	if v := s.nodes[r.NodeID.String()]; v != nil {
		return v.attribute(r.AttributeID, now)
	}
	if f := s.tree.find(r.NodeID, s.ns); f != nil {
		return f.attribute(r.AttributeID, s.ns, now)
	}
	if r.NodeID.Namespace() == 0 && s.opts.Lean {
		return leanAttribute(r.NodeID, r.AttributeID, now)
	}
	if r.NodeID.Namespace() == 0 {
		return s.standardAttribute(r)
	}
	return nil, ua.StatusBadNodeIDUnknown
}

// plainValue refuses what this server does not do with a value: index ranges
// and encodings other than binary.
func plainValue(r *ua.ReadValueID) ua.StatusCode {
	if r.IndexRange != "" {
		return ua.StatusBadIndexRangeNoData
	}
	if r.DataEncoding == nil || r.DataEncoding.Name == "" || r.DataEncoding.Name == "Default Binary" {
		return ua.StatusOK
	}
	return ua.StatusBadDataEncodingUnsupported
}

// standardAttribute reads a node that only the library knows. The library
// changes some of its values in place, so the answer is a copy made under one
// lock.
func (s *Server) standardAttribute(r *ua.ReadValueID) (*ua.DataValue, ua.StatusCode) {
	s.libMu.Lock()
	defer s.libMu.Unlock()
	dv := s.ns0.Attribute(r.NodeID, r.AttributeID)
	if dv == nil || dv.Has(ua.DataValueValue) && dv.Value == nil {
		return nil, ua.StatusBadAttributeIDInvalid
	}
	if bad(dv.Status) {
		return nil, dv.Status
	}
	out := *dv
	return &out, ua.StatusOK
}

// bad tells whether a status has Bad severity.
func bad(code ua.StatusCode) bool { return code&0x80000000 != 0 }

// countAllowed checks the number of operations of a request (Part 4, 7.39).
func countAllowed(n int, limit uint32) error {
	if n == 0 {
		return ua.StatusBadNothingToDo
	}
	if limit > 0 && uint32(n) > limit {
		return ua.StatusBadTooManyOperations
	}
	return nil
}

// writeService answers Write (Part 4, 5.11.4). Hooks run outside the lock.
func (s *Server) writeService(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.WriteRequest)
	s.mu.Lock()
	_, err := s.session(cl)
	if err == nil {
		err = countAllowed(len(req.NodesToWrite), s.opts.Limits.MaxNodesPerWrite)
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	results := make([]ua.StatusCode, len(req.NodesToWrite))
	var writes []Write
	var index []int // writes[i] answers results[index[i]]
	for i, w := range req.NodesToWrite {
		v, code := s.writable(w)
		if cl.fault.ItemStatus != 0 {
			code = cl.fault.ItemStatus
		}
		if results[i] = code; code == ua.StatusOK {
			writes = append(writes, Write{Var: v, Value: w.Value.Value.Value()})
			index = append(index, i)
		}
	}
	s.mu.Unlock()
	for i, code := range s.write(writes) {
		results[index[i]] = code
	}
	return &ua.WriteResponse{ResponseHeader: cl.header(ua.StatusOK), Results: results, DiagnosticInfos: []*ua.DiagnosticInfo{}}, nil
}

// writable checks access, type and the combination that is written. A status
// or a timestamp cannot be written: Bad_WriteNotSupported, as for most PLCs.
func (s *Server) writable(w *ua.WriteValue) (*Var, ua.StatusCode) {
	if w.NodeID == nil {
		return nil, ua.StatusBadNodeIDInvalid
	}
	v := s.nodes[w.NodeID.String()]
	switch {
	case v == nil && w.NodeID.Namespace() != 0 && s.tree.find(w.NodeID, s.ns) == nil:
		return nil, ua.StatusBadNodeIDUnknown
	case v == nil || w.AttributeID != ua.AttributeIDValue || !v.writable:
		return nil, ua.StatusBadNotWritable
	case w.IndexRange != "":
		return nil, ua.StatusBadWriteNotSupported
	case w.Value == nil || w.Value.EncodingMask&^ua.DataValueValue != 0 && (w.Value.Status != ua.StatusOK || !w.Value.SourceTimestamp.IsZero() || !w.Value.ServerTimestamp.IsZero()):
		return nil, ua.StatusBadWriteNotSupported
	case !w.Value.Has(ua.DataValueValue) || w.Value.Value.Type() != v.typ || isArray(w.Value.Value) != v.array:
		return nil, ua.StatusBadTypeMismatch
	}
	return v, ua.StatusOK
}

// write asks the hooks and applies what they accept.
func (s *Server) write(writes []Write) []ua.StatusCode {
	if len(writes) == 0 {
		return nil
	}
	if s.opts.OnWrite != nil {
		results := s.opts.OnWrite(writes)
		for len(results) < len(writes) {
			results = append(results, ua.StatusBadInternalError)
		}
		return results[:len(writes)]
	}
	results := make([]ua.StatusCode, len(writes))
	for i, w := range writes {
		s.mu.Lock()
		hook, old := w.Var.onWrite, w.Var.cur.Value.Value()
		s.mu.Unlock()
		if hook != nil {
			results[i] = hook(old, w.Value)
		}
		if results[i] == ua.StatusOK {
			w.Var.Set(w.Value, ua.StatusOK, s.opts.Now())
		}
	}
	return results
}

// registerNodes answers RegisterNodes with the node ids themselves.
func (s *Server) registerNodes(cl *call) (ua.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.session(cl); err != nil {
		return nil, err
	}
	return &ua.RegisterNodesResponse{
		ResponseHeader:    cl.header(ua.StatusOK),
		RegisteredNodeIDs: cl.req.(*ua.RegisterNodesRequest).NodesToRegister,
	}, nil
}

func (s *Server) unregisterNodes(cl *call) (ua.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.session(cl); err != nil {
		return nil, err
	}
	return &ua.UnregisterNodesResponse{ResponseHeader: cl.header(ua.StatusOK)}, nil
}
