package uaserver

import (
	"crypto/rand"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
)

// maxBrowsePoints bounds the browse continuation points of one session.
const maxBrowsePoints = 100

// browseService answers Browse (Part 4, 5.9.2).
func (s *Server) browseService(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.BrowseRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.session(cl)
	if err != nil {
		return nil, err
	}
	if err := countAllowed(len(req.NodesToBrowse), s.opts.Limits.MaxNodesPerBrowse); err != nil {
		return nil, err
	}
	limit := s.opts.Limits.MaxReferencesPerNode
	if n := req.RequestedMaxReferencesPerNode; n > 0 && n < limit {
		limit = n
	}
	resp := &ua.BrowseResponse{ResponseHeader: cl.header(ua.StatusOK), DiagnosticInfos: []*ua.DiagnosticInfo{}}
	for _, d := range req.NodesToBrowse {
		refs, code := s.browseOne(d)
		if code != ua.StatusOK {
			resp.Results = append(resp.Results, &ua.BrowseResult{StatusCode: code, References: []*ua.ReferenceDescription{}})
			continue
		}
		resp.Results = append(resp.Results, sess.browsePage(refs, int(limit)))
	}
	return resp, nil
}

// browseRest is what a browse continuation point stands for.
type browseRest struct {
	refs  []*ua.ReferenceDescription
	limit int
}

// browsePage returns the first limit references and keeps the rest.
func (sess *session) browsePage(refs []*ua.ReferenceDescription, limit int) *ua.BrowseResult {
	if len(refs) <= limit {
		return &ua.BrowseResult{References: refs}
	}
	if len(sess.browse) >= maxBrowsePoints {
		return &ua.BrowseResult{StatusCode: ua.StatusBadNoContinuationPoints, References: []*ua.ReferenceDescription{}}
	}
	point := rand.Text()
	sess.browse[point] = browseRest{refs[limit:], limit}
	return &ua.BrowseResult{References: refs[:limit], ContinuationPoint: []byte(point)}
}

// browseNext answers BrowseNext (Part 4, 5.9.3).
func (s *Server) browseNext(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.BrowseNextRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	sess, err := s.session(cl)
	if err != nil {
		return nil, err
	}
	if err := countAllowed(len(req.ContinuationPoints), s.opts.Limits.MaxNodesPerBrowse); err != nil {
		return nil, err
	}
	resp := &ua.BrowseNextResponse{ResponseHeader: cl.header(ua.StatusOK), DiagnosticInfos: []*ua.DiagnosticInfo{}}
	for _, p := range req.ContinuationPoints {
		rest, ok := sess.browse[string(p)]
		delete(sess.browse, string(p))
		switch {
		case !ok:
			resp.Results = append(resp.Results, &ua.BrowseResult{StatusCode: ua.StatusBadContinuationPointInvalid, References: []*ua.ReferenceDescription{}})
		case req.ReleaseContinuationPoints:
			resp.Results = append(resp.Results, &ua.BrowseResult{References: []*ua.ReferenceDescription{}})
		default:
			resp.Results = append(resp.Results, sess.browsePage(rest.refs, rest.limit))
		}
	}
	return resp, nil
}

// translate answers TranslateBrowsePathsToNodeIds (Part 4, 5.9.4).
func (s *Server) translate(cl *call) (ua.Response, error) {
	req := cl.req.(*ua.TranslateBrowsePathsToNodeIDsRequest)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.session(cl); err != nil {
		return nil, err
	}
	if err := countAllowed(len(req.BrowsePaths), s.opts.Limits.MaxNodesPerBrowse); err != nil {
		return nil, err
	}
	resp := &ua.TranslateBrowsePathsToNodeIDsResponse{ResponseHeader: cl.header(ua.StatusOK), DiagnosticInfos: []*ua.DiagnosticInfo{}}
	for _, p := range req.BrowsePaths {
		resp.Results = append(resp.Results, s.follow(p))
	}
	return resp, nil
}

func (s *Server) follow(p *ua.BrowsePath) *ua.BrowsePathResult {
	bad := func(code ua.StatusCode) *ua.BrowsePathResult {
		return &ua.BrowsePathResult{StatusCode: code, Targets: []*ua.BrowsePathTarget{}}
	}
	if p.RelativePath == nil || len(p.RelativePath.Elements) == 0 {
		return bad(ua.StatusBadNothingToDo)
	}
	at := ua.NewExpandedNodeID(p.StartingNode, "", 0)
	for _, e := range p.RelativePath.Elements {
		d := &ua.BrowseDescription{NodeID: at.NodeID, ReferenceTypeID: e.ReferenceTypeID, IncludeSubtypes: e.IncludeSubtypes, ResultMask: 63}
		if e.IsInverse {
			d.BrowseDirection = ua.BrowseDirectionInverse
		}
		if d.ReferenceTypeID == nil || d.ReferenceTypeID.IntID() == 0 {
			d.ReferenceTypeID, d.IncludeSubtypes = ua.NewNumericNodeID(0, id.HierarchicalReferences), true
		}
		refs, code := s.browseOne(d)
		if code != ua.StatusOK {
			return bad(code)
		}
		at = nil
		for _, r := range refs {
			if e.TargetName != nil && *r.BrowseName == *e.TargetName {
				at = r.NodeID
				break
			}
		}
		if at == nil {
			return bad(ua.StatusBadNoMatch)
		}
	}
	return &ua.BrowsePathResult{Targets: []*ua.BrowsePathTarget{{TargetID: at, RemainingPathIndex: 0xffffffff}}}
}
