package gateway

import (
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
)

// fact is what the view remembers of one event.
type fact struct {
	revision     uint32
	kind         eventv1.ProductionOrderEventType
	cancelled    bool // withdrawn by a later revision
	at           time.Time
	started      time.Time
	ended        time.Time
	delta        *[3]apd.Decimal // good, scrap, rework; nil when the event reports none
	unit         string
	final        bool
	path, center string
}

// newFact reads an event. Quantities are checked here, so that adding them up cannot fail half-way.
func newFact(e *eventv1.ProductionOrderEvent, recorded time.Time) (*fact, error) {
	h := e.GetHeader()
	f := &fact{
		revision: h.GetRevision(), kind: e.GetType(), cancelled: h.GetAction() == eventv1.RecordAction_RECORD_ACTION_CANCELLATION,
		at: timeOr(h.GetOccurredAt(), recorded), final: e.GetFinalConfirmation(), center: h.GetScope().GetWorkCenter(), path: pathOf(h.GetScope()),
	}
	switch e.GetType() {
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_STARTED:
		f.started = timeOr(e.GetActualStart(), f.at)
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_COMPLETED, eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_ABORTED:
		f.ended = timeOr(e.GetActualEnd(), f.at)
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PROGRESS:
		f.delta = new([3]apd.Decimal)
		for i, q := range []*eventv1.Quantity{e.GetDelta().GetGood(), e.GetDelta().GetScrap(), e.GetDelta().GetRework()} {
			if q.GetValue() == "" {
				continue
			}
			if err := parse(&f.delta[i], q.GetValue()); err != nil {
				return nil, err
			}
			f.unit = q.GetUnitCode()
		}
	}
	return f, nil
}

// parse reads a canonical decimal; no quantity of a plant has more than 40 digits, and none has an exponent.
func parse(d *apd.Decimal, s string) error {
	if len(s) > 40 || strings.Trim(s, "0123456789.-") != "" {
		return fmt.Errorf("the quantity %.50q is not a decimal of at most 40 digits without exponent", s)
	}
	if _, _, err := d.SetString(s); err != nil {
		return fmt.Errorf("reading the quantity %q: %w", s, err)
	}
	return nil
}

// sum is what facts add up to. It does not depend on the order in which they are added, because an order's events may
// stand in several partitions, and corrections come late.
type sum struct {
	state   newestState
	last    newestKind
	total   [3]apd.Decimal
	counted bool
	unit    string
	started time.Time // the first start
	ended   time.Time // the last end
	final   bool
	path    string // of the newest event
	center  string
	placed  time.Time
}

// newestState is the state of the highest rank, and of these the newest.
type newestState struct {
	state eventv1.OrderState
	at    time.Time
}

type newestKind struct {
	kind eventv1.ProductionOrderEventType
	at   time.Time
}

func (s *sum) add(f *fact) {
	if f.cancelled {
		return
	}
	if st := stateAfter(f.kind); st != 0 {
		n := newestState{st, f.at}
		if r, old := rankOf(n.state), rankOf(s.state.state); r > old || r == old && (n.at.After(s.state.at) || n.at.Equal(s.state.at) && n.state > s.state.state) {
			s.state = n
		}
	}
	if f.at.After(s.last.at) || f.at.Equal(s.last.at) && f.kind > s.last.kind {
		s.last = newestKind{f.kind, f.at}
	}
	if f.path != "" && !f.at.Before(s.placed) {
		s.path, s.center, s.placed = f.path, f.center, f.at
	}
	if !f.started.IsZero() && (s.started.IsZero() || f.started.Before(s.started)) {
		s.started = f.started
	}
	if f.ended.After(s.ended) {
		s.ended = f.ended
	}
	s.final = s.final || f.final
	if f.delta != nil {
		s.counted = true
		for i := range f.delta {
			s.plus(i, &f.delta[i])
		}
		if f.unit != "" {
			s.unit = f.unit
		}
	}
}

// plus adds to a total. Quantities have at most 40 digits, so a total has fewer than maxDigits for ever.
func (s *sum) plus(i int, n *apd.Decimal) {
	var next apd.Decimal // digits may be shared between copies of a sum: a total never changes in place
	if _, err := apd.BaseContext.WithPrecision(maxDigits).Add(&next, &s.total[i], n); err != nil {
		panic(fmt.Sprintf("gateway: adding %s to %s: %v", n, &s.total[i], err))
	}
	s.total[i] = next
}

// maxDigits is 40 before and 40 after the point, and room for 10^20 reports.
const maxDigits = 100

func (s *sum) quantity(i int) *eventv1.Quantity {
	return &eventv1.Quantity{Value: s.total[i].Text('f'), UnitCode: s.unit}
}

// The ranks of states: an event never leads to a state of a lower rank, whatever order events arrive in.
const (
	rankNone = iota
	rankReleased
	rankReady
	rankRunning
	rankClosed
)

func rankOf(s eventv1.OrderState) int {
	switch s {
	case eventv1.OrderState_ORDER_STATE_COMPLETED, eventv1.OrderState_ORDER_STATE_ABORTED,
		eventv1.OrderState_ORDER_STATE_CANCELLED, eventv1.OrderState_ORDER_STATE_CLOSED:
		return rankClosed
	case eventv1.OrderState_ORDER_STATE_RUNNING, eventv1.OrderState_ORDER_STATE_PAUSED,
		eventv1.OrderState_ORDER_STATE_HELD, eventv1.OrderState_ORDER_STATE_SUSPENDED:
		return rankRunning
	case eventv1.OrderState_ORDER_STATE_READY, eventv1.OrderState_ORDER_STATE_WAITING:
		return rankReady
	case eventv1.OrderState_ORDER_STATE_RELEASED, eventv1.OrderState_ORDER_STATE_FORECAST:
		return rankReleased
	case eventv1.OrderState_ORDER_STATE_UNSPECIFIED:
	}
	return rankNone
}

// stateAfter is the order's state that an event of the floor leads to; 0 where it changes nothing.
func stateAfter(t eventv1.ProductionOrderEventType) eventv1.OrderState {
	switch t {
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_RELEASED:
		return eventv1.OrderState_ORDER_STATE_RELEASED
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_DOWNLOADED:
		return eventv1.OrderState_ORDER_STATE_READY
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_SETUP_STARTED, eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_STARTED,
		eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PROGRESS, eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_RESUMED:
		return eventv1.OrderState_ORDER_STATE_RUNNING
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PAUSED:
		return eventv1.OrderState_ORDER_STATE_PAUSED
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_HELD:
		return eventv1.OrderState_ORDER_STATE_HELD
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_COMPLETED:
		return eventv1.OrderState_ORDER_STATE_COMPLETED
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_ABORTED:
		return eventv1.OrderState_ORDER_STATE_ABORTED
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_CANCELLED:
		return eventv1.OrderState_ORDER_STATE_CANCELLED
	case eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_CLOSED:
		return eventv1.OrderState_ORDER_STATE_CLOSED
	}
	return eventv1.OrderState_ORDER_STATE_UNSPECIFIED
}

// pathOf is the asset's path, down to the work unit.
func pathOf(s *eventv1.EquipmentScope) string {
	var parts []string
	for _, p := range []string{s.GetEnterprise(), s.GetSite(), s.GetArea(), s.GetWorkCenter(), s.GetWorkUnit()} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/")
}

func timeOr(t *timestamppb.Timestamp, otherwise time.Time) time.Time {
	if t == nil {
		return otherwise
	}
	return t.AsTime()
}
