package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

const (
	// staleAfter is how old another process's report may be before its components count as down.
	staleAfter = 10 * time.Second
	// forgottenAfter is how old a report may be before a process counts as removed from the plant.
	forgottenAfter = 24 * time.Hour
)

// report is the newest that a process said of itself. at is by our clock where we saw it come, so that a host whose
// clock is wrong does not look dead.
type report struct {
	r  *inboxv1.StatusReport
	at time.Time
}

func (v *views) applyStatus(r kafka.Record, live bool) error {
	s := &inboxv1.StatusReport{}
	if err := proto.Unmarshal(r.Value, s); err != nil {
		return fmt.Errorf("decoding a status report: %w", err)
	}
	now := v.o.Now()
	at := now
	if !live {
		at = s.GetReportedAt().AsTime()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reports[s.GetInstance()] = report{s, at}
	maps.DeleteFunc(v.reports, func(_ string, r report) bool { return now.Sub(r.at) > forgottenAfter })
	return nil
}

// statusReports returns the newest report of every instance, sorted.
func (v *views) statusReports() []report {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := slices.Collect(maps.Values(v.reports))
	sort.Slice(out, func(i, j int) bool { return out[i].r.GetInstance() < out[j].r.GetInstance() })
	return out
}

// GetStatus implements StatusService.
func (s *server) GetStatus(context.Context, *gatewayv1.GetStatusRequest) (*gatewayv1.GetStatusResponse, error) {
	ready, _ := s.views.ready()
	out := &gatewayv1.GetStatusResponse{Version: s.o.Version, Namespace: s.o.Namespace, Ready: ready, StartedAt: timestamppb.New(s.started)}
	local := s.o.Local()
	s.add(out, local, false)
	for _, c := range out.GetComponents() {
		if c.GetKind() == "api" {
			s.views.count(c)
			c.Counters["streams"] = float64(len(s.streams))
		}
	}
	var stale []*inboxv1.StatusReport
	now := s.o.Now()
	for _, r := range s.views.statusReports() {
		switch age := now.Sub(r.at); {
		case r.r.GetInstance() == local.GetInstance() || age > forgottenAfter:
		case age > staleAfter:
			stale = append(stale, r.r)
		default:
			s.add(out, r.r, false)
		}
	}
	for _, r := range stale {
		s.add(out, r, true)
	}
	for _, c := range out.GetComponents() {
		if c.GetState() == gatewayv1.ComponentState_COMPONENT_STATE_DOWN {
			out.Ready = false
		}
	}
	s.views.mu.RLock()
	out.DeadLetters = uint64(len(s.views.dead.list))
	s.views.mu.RUnlock()
	return out, nil
}

// add appends a report's components. Of a stale report those that a living process has taken over are left out: a host
// was renamed, or a role has moved.
func (s *server) add(out *gatewayv1.GetStatusResponse, r *inboxv1.StatusReport, stale bool) {
	for _, c := range r.GetComponents() {
		st := gatewayv1.ComponentState(gatewayv1.ComponentState_value["COMPONENT_STATE_"+strings.ToUpper(c.GetState())])
		reason := c.GetReason()
		if stale {
			if slices.ContainsFunc(out.GetComponents(), func(o *gatewayv1.Component) bool { return o.GetName() == c.GetName() }) {
				continue
			}
			if st != gatewayv1.ComponentState_COMPONENT_STATE_STOPPED {
				st, reason = gatewayv1.ComponentState_COMPONENT_STATE_DOWN, "its process "+r.GetInstance()+" has not reported for more than "+staleAfter.String()+"; look whether it runs"
			}
		}
		counters := maps.Clone(c.GetCounters())
		if counters == nil {
			counters = map[string]float64{}
		}
		out.Components = append(out.Components, &gatewayv1.Component{
			Name: c.GetName(), Kind: c.GetKind(), State: st, Reason: reason, Since: c.GetSince(), Details: c.GetDetails(),
			Counters: counters, Instance: r.GetInstance(), ReportedAt: r.GetReportedAt(),
		})
		for _, h := range c.GetHeld() {
			out.Held = append(out.Held, &gatewayv1.HeldLane{
				Sink: strings.TrimPrefix(c.GetName(), "sink/"), Key: h.GetKey(), EffectId: h.GetEffectId(), Reason: h.GetReason(), Since: h.GetSince(), Waiting: h.GetWaiting(),
			})
		}
	}
}
