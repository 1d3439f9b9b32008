package maptest

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
)

// seen is something that the rules gave.
type seen struct {
	kind    string // event, write, ack or dead
	rule    string
	at      time.Duration
	event   *pipeline.Event
	body    protoreflect.Message // of an event
	command *inboxv1.Command
	dead    *pipeline.DeadLetter
}

// run is one run of a test in one way.
type run struct {
	test      *mapping.Test
	mapping   *mapping.Mapping
	engine    *engine.Engine
	effects   engine.Effects
	seen      []seen
	waiting   []*inboxv1.Command // writes without a reply
	offset    int64
	revisions map[string]uint64 // of orders
	broken    error             // an event that cannot be decoded
}

// play runs a test in one way. An error is a fault of the test itself, or the engine's refusal.
func play(m *mapping.Mapping, t *mapping.Test, w way) (*run, error) {
	r := &run{test: t, mapping: m, revisions: map[string]uint64{}}
	if err := r.fresh(nil); err != nil {
		return nil, err
	}
	r.apply(0, &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_SourceSet{SourceSet: &inboxv1.SourceSet{
		SourceIds: t.Machine.Sources, AssetPath: t.Machine.Asset,
	}}})
	for _, e := range schedule(t, stable(m.Spec), w.seed) {
		if err := r.entry(e, w.restart); err != nil {
			return nil, err
		}
		if r.broken != nil {
			return nil, r.broken
		}
	}
	return r, nil
}

// stable is how long the mapping's contexts wait to be stable.
func stable(s *engine.Spec) (d time.Duration) {
	for i := range s.Contexts {
		d = max(d, s.Contexts[i].MinStable)
	}
	return d
}

// fresh makes a new engine, with the state of an old one.
func (r *run) fresh(state []byte) error {
	bound := []engine.Bound{{Program: r.mapping.Program, Machine: r.test.Machine}}
	e, err := engine.New(engine.Config{Site: site(r.test.Machine.Asset), Lateness: lateness}, bound)
	if err != nil {
		return fmt.Errorf("preparing the engine: %w", err)
	}
	if state != nil {
		if err := e.Restore(state); err != nil {
			return fmt.Errorf("restoring the engine: %w", err)
		}
	}
	r.engine = e
	return nil
}

// site is the first two steps of an asset path.
func site(asset string) string {
	steps := strings.SplitN(asset, "/", 3)
	return strings.Join(steps[:min(2, len(steps))], "/")
}

func (r *run) entry(e entry, restart bool) error {
	if e.step == nil {
		r.apply(e.arrive, r.heartbeat(e.watermark))
		return r.restart(restart)
	}
	s := e.step
	if len(s.Readings) > 0 {
		r.apply(e.arrive, r.batch(e.arrive, s))
		if err := r.restart(restart); err != nil {
			return err
		}
	}
	if s.Order != nil {
		r.apply(e.arrive, r.operation(s.Order))
	}
	if s.Reply != nil {
		rec, err := r.reply(e.arrive, s)
		if err != nil {
			return err
		}
		r.apply(e.arrive, rec)
	}
	return r.restart(restart || s.Restart)
}

func (r *run) restart(yes bool) error {
	if !yes {
		return nil
	}
	return r.fresh(r.engine.Snapshot())
}

func (r *run) time(at time.Duration) time.Time { return r.test.Start.Add(at) }

func (r *run) heartbeat(watermark time.Duration) *inboxv1.InboxRecord {
	return &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_Heartbeat{Heartbeat: &inboxv1.Heartbeat{
		SourceId: mapping.TestSource, Session: "test", State: inboxv1.SourceState_SOURCE_STATE_LIVE,
		WatermarkNs: r.time(watermark).UnixNano(),
	}}}
}

// batch is a step's samples: one per tag, as a source sends them. They have no positions, so repeats are told by tag,
// time, status and value (R7).
func (r *run) batch(arrive time.Duration, s *mapping.Step) *inboxv1.InboxRecord {
	var samples []pipeline.Sample
	done := map[string]bool{}
	for _, x := range s.Readings {
		if done[x.Tag] {
			continue
		}
		done[x.Tag] = true
		samples = append(samples, pipeline.Sample{
			Tag: x.Tag, Value: x.Value, Quality: x.Quality, At: r.time(s.At), ServerAt: r.time(s.At), Seen: r.time(arrive),
		})
	}
	b := pipeline.Batch{Session: "test", State: pipeline.StateLive}
	return inbox.Encode(mapping.TestSource, b, samples, func(string) inbox.Meta { return inbox.Meta{Asset: r.test.Machine.Asset} })
}

func (r *run) operation(o *mapping.Order) *inboxv1.InboxRecord {
	r.revisions[o.OrderID]++
	quantity := &eventv1.Quantity{Value: o.Quantity, UnitCode: o.Unit}
	op := &eventv1.Operation{OperationId: o.Operation, PlannedQuantity: quantity}
	if wc := r.test.Machine.Columns["work_center"]; wc.Type() == pipeline.TypeText {
		op.WorkCenter = wc.AsText()
	}
	for _, x := range o.Parameters {
		v := &eventv1.Value{Kind: &eventv1.Value_DecimalValue{DecimalValue: x.Value}}
		if _, isNumber := number(x.Value); x.Text || !isNumber {
			v = &eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: x.Value}}
		}
		op.Parameters = append(op.Parameters, &eventv1.Parameter{Id: x.ID, Value: v, UnitCode: x.Unit})
	}
	return &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_Operation{Operation: &inboxv1.DispatchedOperation{
		Order: &eventv1.ProductionOrder{
			OrderId: o.OrderID, Version: r.revisions[o.OrderID], MaterialId: o.Material, PlannedQuantity: quantity,
			Operations: []*eventv1.Operation{op}, State: eventv1.OrderState_ORDER_STATE_RELEASED,
		},
		OperationId: o.Operation, Revision: r.revisions[o.OrderID], Withdrawn: o.Withdrawn,
	}}}
}

// reply answers the oldest write that waits for an answer.
func (r *run) reply(arrive time.Duration, s *mapping.Step) (*inboxv1.InboxRecord, error) {
	for i, c := range r.waiting {
		if s.Reply.Rule != "" && s.Reply.Rule != r.ruleOf(c) {
			continue
		}
		r.waiting = append(r.waiting[:i:i], r.waiting[i+1:]...)
		return &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_CommandResult{CommandResult: &inboxv1.CommandResult{
			CommandId: c.GetCommandId(), CorrelationId: c.GetCorrelationId(), AssetPath: r.test.Machine.Asset,
			Outcome: inboxv1.CommandOutcome(inboxv1.CommandOutcome_value["COMMAND_OUTCOME_"+s.Reply.Outcome]),
			Code:    s.Reply.Code, FinishedAt: timestamppb.New(r.time(arrive)),
		}}}, nil
	}
	return nil, fmt.Errorf("%s: no write waits for this reply", s.Pos)
}

func message(e *pipeline.Event) (protoreflect.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("plantloom.event.v1." + e.Type))
	if err != nil {
		return nil, fmt.Errorf("decoding an event: %w", err)
	}
	m := t.New()
	if err := proto.Unmarshal(e.Body, m.Interface()); err != nil {
		return nil, fmt.Errorf("decoding an event: %w", err)
	}
	return m, nil
}
