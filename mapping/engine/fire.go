package engine

import (
	"fmt"
	"runtime/debug"
	"slices"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/mapping/formula"
	"github.com/plantloom/plantloom/pipeline"
)

// run is one instant of a machine: what fires in it comes out together, in the order of the rules in the file.
type run struct {
	m   *machine
	in  *Cause
	out *Effects
}

// firing is what a rule gave, until its place in the order is known.
type firing struct {
	rule     *ruleDef
	event    *event
	commands []*inboxv1.Command
	dead     *pipeline.DeadLetter
}

// event is an event without its sequence number.
type event struct {
	key  string
	at   int64
	def  *messageDef
	msg  protoreflect.Message
	head *eventv1.EventHeader
}

// fire evaluates a rule for a trigger. A fault or a panic in it is a dead letter; baselines move in any case.
func (m *machine) fire(r *run, d *ruleDef, t *trigger) {
	defer m.rebase(d, t.at, t.before)
	defer func() {
		if why := recover(); why != nil {
			r.dead(d, t, "", &ruleError{"RULE_PANIC", panicText(why)})
		}
	}()
	m.frame.Status, m.frame.Overflows = 0, 0
	m.setTime(t.at)
	m.setObjects(t)
	defer m.hold(d.use.inputs, t.at, t.after)()
	estimated := m.intervalValues(d, t.at, t.before) || t.gap
	if d.cond != nil {
		if yes, ok := d.cond(&m.frame); !ok || !yes {
			m.book(r, d)
			r.out.Overflows += m.frame.Overflows
			return
		}
	}
	f := firing{rule: d}
	if len(d.writes) > 0 {
		refused := m.write(r, d, t, estimated, &f)
		switch {
		case refused == nil:
			r.add(f)
			return
		case d.message == nil:
			r.dead(d, t, "", &ruleError{"RULE_WRITE_REFUSED", refused.code + ": " + refused.message})
			return
		}
	}
	m.finish(r, d, t, estimated, &f)
}

// finish makes the event of a firing and its acknowledgements.
func (m *machine) finish(r *run, d *ruleDef, t *trigger, estimated bool, f *firing) {
	defer func() { r.out.Overflows += m.frame.Overflows }()
	id := ""
	if d.message != nil {
		e, key, err := m.event(r, d, t, estimated)
		if err != nil {
			r.dead(d, t, key, err)
			return
		}
		f.event, id = e, e.head.GetEventId()
	}
	acks, err := m.acknowledge(d, t, id)
	if err != nil {
		r.dead(d, t, "", err)
		return
	}
	f.commands = append(f.commands, acks...)
	if f.event != nil || f.commands != nil {
		r.add(*f)
	}
}

func (r *run) add(f firing) { r.m.firings = append(r.m.firings, f) }

// event makes the event of a rule; key is known for a dead letter too where it could be made.
func (m *machine) event(r *run, d *ruleDef, t *trigger, estimated bool) (e *event, key string, err error) {
	key = m.def.Asset
	if d.key != nil {
		k, ok := d.key(&m.frame)
		if !ok || k == "" {
			return nil, "", &ruleError{"RULE_NULL_KEY", "the key has no value"}
		}
		key = k
	}
	e = &event{key: key, at: t.at, def: d.message, msg: d.message.typ.New()}
	e.head = e.msg.Mutable(d.message.header).Message().Interface().(*eventv1.EventHeader)
	m.place(e.head)
	if err := fill(e.msg, d.message.fields, &m.frame); err != nil {
		return nil, key, err
	}
	if t.kind == "interval" {
		setTime(e.msg, d.message.from, t.from)
		setTime(e.msg, d.message.to, t.to)
	}
	m.head(r, d, t, e, estimated)
	return e, key, nil
}

// setTime sets a Timestamp field, unless the mapping does it.
func setTime(m protoreflect.Message, fd protoreflect.FieldDescriptor, ns int64) {
	if fd != nil {
		m.Set(fd, protoreflect.ValueOfMessage(timestamp(ns).ProtoReflect()))
	}
}

// head fills the header, but for the sequence.
func (m *machine) head(r *run, d *ruleDef, t *trigger, e *event, estimated bool) {
	h, q := e.head, m.quality(d, estimated)
	order, operation := text(e.msg, e.def.orders), text(e.msg, e.def.oper)
	h.EventId = m.eventID(d, t, e.key, operation)
	h.Action = eventv1.RecordAction_RECORD_ACTION_ORIGINAL
	h.OccurredAt, h.RecordedAt = timestamp(t.at), timestamp(nanos(r.in.At))
	h.Source = m.source()
	if h.CorrelationId = order; order == "" {
		h.CorrelationId = e.key
	}
	h.CausationId = t.cause
	h.Quality = [...]eventv1.Quality{eventv1.Quality_QUALITY_GOOD, eventv1.Quality_QUALITY_UNCERTAIN, eventv1.Quality_QUALITY_BAD}[q.Severity()]
	h.StatusCode = uint32(q)
	h.Estimated = estimated
	h.Provenance = &eventv1.Provenance{
		MappingId: m.p.name, MappingDigest: m.a.e.config.Digest, RuleId: d.name, TriggerTagId: t.tag, TriggerTime: timestamp(t.at),
	}
}

// place fills the scope with the levels of the asset's path.
func (m *machine) place(h *eventv1.EventHeader) {
	s := &eventv1.EquipmentScope{}
	levels := []*string{&s.Enterprise, &s.Site, &s.Area, &s.WorkCenter, &s.WorkUnit, &s.EquipmentModule}
	steps := m.steps()
	for i, step := range steps {
		if i < len(levels) {
			*levels[i] = step
		}
	}
	s.Level = eventv1.EquipmentLevel(min(len(steps), int(eventv1.EquipmentLevel_EQUIPMENT_LEVEL_CONTROL_MODULE)))
	h.Scope = s
}

func text(m protoreflect.Message, fd protoreflect.FieldDescriptor) string {
	if fd == nil {
		return ""
	}
	return m.Get(fd).String()
}

// flush gives what fired, in the order of the rules, with contiguous sequences per key.
func (m *machine) flush(r *run) {
	sort.SliceStable(m.firings, func(i, j int) bool { return m.firings[i].rule.index < m.firings[j].rule.index })
	for i := range m.firings {
		f := &m.firings[i]
		if f.dead != nil {
			r.out.Dead = append(r.out.Dead, *f.dead)
			continue
		}
		if f.event != nil {
			m.emit(r, f)
		}
		r.out.Commands = append(r.out.Commands, f.commands...)
	}
	clear(m.firings)
	m.firings = m.firings[:0]
}

func (m *machine) emit(r *run, f *firing) {
	e := f.event
	e.head.Sequence = m.a.nextSequence(e.def.kind, e.key)
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(e.msg.Interface())
	if err != nil { // text that is not UTF-8: no event can carry it
		f.dead, f.event = nil, nil
		r.out.Dead = append(r.out.Dead, m.deadLetter(r.in, f.rule, &trigger{kind: f.rule.kind(), at: e.at}, e.key, &ruleError{"RULE_NOT_ENCODABLE", err.Error()}))
		return
	}
	r.out.Events = append(r.out.Events, Emitted{
		Event: pipeline.Event{ID: e.head.GetEventId(), Type: e.def.kind, Key: e.key, At: timeOf(e.at), Body: body},
		Asset: m.def.Asset, Mapping: m.p.name, Rule: f.rule.name,
	})
}

// dead notes a firing that failed: no half-made event goes out, and the rest goes on.
func (r *run) dead(d *ruleDef, t *trigger, key string, err error) {
	letter := r.m.deadLetter(r.in, d, t, key, err)
	r.add(firing{rule: d, dead: &letter})
}

func (m *machine) deadLetter(in *Cause, d *ruleDef, t *trigger, key string, err error) pipeline.DeadLetter {
	code := "RULE_FAILED"
	if e, ok := err.(*ruleError); ok {
		code = e.code
	}
	if key == "" {
		key = m.def.Asset
	}
	details := map[string]string{
		"mapping": m.p.name, "rule": d.name, "machine": m.def.Name, "asset": m.def.Asset, "digest": m.a.e.config.Digest,
		"trigger": t.kind, "event_time": timeOf(t.at).Format("2006-01-02T15:04:05.999999999Z07:00"),
	}
	if t.tag != "" {
		details["trigger_tag"] = t.tag
	}
	if t.cause != "" {
		details["cause"] = t.cause
	}
	all := slices.Concat(d.use.inputs, d.use.asked, d.use.deltas)
	for _, i := range all {
		p := &m.p.inputs[i]
		slot := &m.frame.Slots[p.at(ofValue)]
		details["value."+p.name] = fmt.Sprintf("%s (%s)", slot.Value(p.kind), slot.Raw)
	}
	for _, i := range d.use.deltas {
		p := &m.p.inputs[i]
		k := p.kind
		if k == formula.Uint {
			k = formula.Int
		}
		details["delta."+p.name] = m.frame.Slots[p.at(ofDelta)].Value(k).String()
	}
	for _, i := range d.use.contexts {
		c := &m.p.context[i]
		details["context."+c.name] = m.frame.Slots[c.slot].Value(c.kind).String()
	}
	return pipeline.DeadLetter{
		Stage: "map", Code: code, Reason: fmt.Sprintf("rule %s of mapping %s: %s", d.name, m.p.name, err), Key: key,
		ContentType: "application/x-protobuf", Body: encoded(in.Record), Details: details,
	}
}

// encoded is a record as bytes, nil for one that cannot be encoded.
func encoded(r *inboxv1.InboxRecord) []byte {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return nil
	}
	return body
}

// panicText says what panicked, with the place in our code; addresses are left out, so that a replay says the same.
func panicText(why any) string {
	place := ""
	for _, line := range strings.Split(string(debug.Stack()), "\n") {
		if strings.Contains(line, "/mapping/") && strings.Contains(line, ".go:") && !strings.Contains(line, "/fire.go:") && !strings.Contains(line, "/engine.go:") {
			place = strings.TrimSpace(line)
			if i := strings.Index(place, "/mapping/"); i >= 0 {
				place = place[i+1:]
			}
			place, _, _ = strings.Cut(place, " ")
			break
		}
	}
	return fmt.Sprintf("panic: %v (%s)", why, place)
}
