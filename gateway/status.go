package gateway

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
)

// staleAfter is how old another process's report may be before its components count as down.
const staleAfter = 10 * time.Second

// forgottenAfter is how old a report may be before a process counts as removed from the plant.
const forgottenAfter = 24 * time.Hour

// GetStatus implements StatusService.
func (s *server) GetStatus(context.Context, *gatewayv1.GetStatusRequest) (*gatewayv1.GetStatusResponse, error) {
	ready, reason := s.views.ready()
	out := &gatewayv1.GetStatusResponse{Version: s.o.Version, Namespace: s.o.Namespace, Ready: ready, StartedAt: timestamppb.New(s.started)}
	local := s.o.Local()
	s.add(out, local, false)
	for _, r := range s.views.statusReports() {
		age := s.o.Now().Sub(r.GetReportedAt().AsTime())
		if r.GetInstance() != local.GetInstance() && age < forgottenAfter {
			s.add(out, r, age > staleAfter)
		}
	}
	for _, c := range out.GetComponents() {
		if c.GetKind() == "api" && reason != "" {
			c.State, c.Reason = gatewayv1.ComponentState_COMPONENT_STATE_STARTING, reason
		}
		if c.GetState() == gatewayv1.ComponentState_COMPONENT_STATE_DOWN {
			out.Ready = false
		}
	}
	s.views.mu.RLock()
	out.DeadLetters = uint64(len(s.views.dead))
	s.views.mu.RUnlock()
	return out, nil
}

func (s *server) add(out *gatewayv1.GetStatusResponse, r *inboxv1.StatusReport, stale bool) {
	for _, c := range r.GetComponents() {
		st := gatewayv1.ComponentState(gatewayv1.ComponentState_value["COMPONENT_STATE_"+strings.ToUpper(c.GetState())])
		reason := c.GetReason()
		if stale && st != gatewayv1.ComponentState_COMPONENT_STATE_STOPPED {
			st, reason = gatewayv1.ComponentState_COMPONENT_STATE_DOWN, "its process has not reported for more than "+staleAfter.String()+"; look at it there"
		}
		out.Components = append(out.Components, &gatewayv1.Component{
			Name: c.GetName(), Kind: c.GetKind(), State: st, Reason: reason, Since: c.GetSince(), Details: c.GetDetails(),
			Counters: c.GetCounters(), Instance: r.GetInstance(), ReportedAt: r.GetReportedAt(),
		})
		for _, h := range c.GetHeld() {
			out.Held = append(out.Held, &gatewayv1.HeldLane{
				Sink: strings.TrimPrefix(c.GetName(), "sink/"), Key: h.GetKey(), EffectId: h.GetEffectId(), Reason: h.GetReason(), Since: h.GetSince(), Waiting: h.GetWaiting(),
			})
		}
	}
}

// ListDeadLetters implements StatusService.
func (s *server) ListDeadLetters(_ context.Context, r *gatewayv1.ListDeadLettersRequest) (*gatewayv1.ListDeadLettersResponse, error) {
	size, err := pageSize(r.GetPageSize())
	if err != nil {
		return nil, err
	}
	from, err := decodePage(r.GetPageToken())
	if err != nil {
		return nil, err
	}
	s.views.mu.RLock()
	var all []*inboxv1.DeadLetter
	for i := len(s.views.dead) - 1; i >= 0; i-- {
		if d := s.views.dead[i]; r.GetStage() == "" || d.GetStage() == r.GetStage() {
			all = append(all, d)
		}
	}
	s.views.mu.RUnlock()
	page, next := cut(all, from, size)
	return &gatewayv1.ListDeadLettersResponse{DeadLetters: page, NextPageToken: next}, nil
}
