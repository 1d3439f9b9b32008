package engine

import (
	"slices"
	"strings"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/mapping/formula"
	"github.com/plantloom/plantloom/pipeline"
)

// waitingResult is a group of writes whose result is to come, with what its event is made of.
type waitingResult struct {
	cell      *cell
	command   string
	trigger   trigger
	slots     []savedSlot
	estimated bool
	status    pipeline.Quality
	objects   [objects / 2]*operation // e, old, operation
}

type savedSlot struct {
	index int
	slot  formula.Slot
}

// write makes the command of a firing; its event waits for the command's result. A group that may not be written is
// refused at once, with the same outcome as by a device, and nothing of it is written.
func (m *machine) write(r *run, d *ruleDef, t *trigger, estimated bool, f *firing) *refusal {
	writes, to, refused := m.group(d)
	if refused != nil {
		m.outcome("REFUSED", refused.code, refused.message)
		return refused
	}
	id := m.commandID(d, t, "write")
	c := &inboxv1.Command{
		CommandId: id, SourceId: to, Writes: writes, Deadline: timestamp(nanos(r.in.At) + d.expires),
		CorrelationId: strings.Join([]string{m.p.name, m.def.Name, d.name, id}, "/"), AssetPath: m.a.path,
		ReadBack: slices.ContainsFunc(writes, func(w *inboxv1.Write) bool { return w.GetReadBack() }),
	}
	if d.shake != nil {
		c.Handshake = m.handshake(d.shake)
	}
	f.commands = append(f.commands, c)
	if d.message != nil {
		m.await(d, c, t, estimated)
	}
	return nil
}

// group evaluates all writes of a rule before the first one is made.
func (m *machine) group(d *ruleDef) (writes []*inboxv1.Write, to string, why *refusal) {
	add := func(name string, o *outputDef, v *eventv1.Value) {
		target := m.def.Outputs[name]
		to = target.Source
		writes = append(writes, &inboxv1.Write{TagId: target.Tag, Value: v, ReadBack: o.readBack})
	}
	for i := range d.writes {
		w := &d.writes[i]
		if w.params == nil {
			v, why := w.value(&m.frame)
			if why != nil {
				return nil, "", why
			}
			add(w.output.name, w.output, v)
			continue
		}
		values, rows, why := recipe(w.output, w.params(&m.frame))
		if why != nil {
			return nil, "", why
		}
		for j, row := range rows {
			add(w.output.name+"/"+row.name, row, values[j])
		}
	}
	if to == "" {
		return nil, "", refuse("NOTHING_TO_WRITE", "no parameter of the table is given")
	}
	return writes, to, nil
}

func (m *machine) handshake(h *Handshake) *inboxv1.Handshake {
	tag := func(s *Source) string {
		if s == nil {
			return ""
		}
		return m.def.Outputs[s.Text].Tag
	}
	style := map[string]inboxv1.HandshakeStyle{
		"level": inboxv1.HandshakeStyle_HANDSHAKE_STYLE_LEVEL, "toggle": inboxv1.HandshakeStyle_HANDSHAKE_STYLE_TOGGLE,
		"sequence": inboxv1.HandshakeStyle_HANDSHAKE_STYLE_SEQUENCE,
	}
	return &inboxv1.Handshake{
		RequestTagId: tag(h.Request), AcknowledgeTagId: tag(h.Ack), RefuseTagId: tag(h.Nack), CodeTagId: tag(h.Code),
		Style: style[h.Style], WithinNs: h.Within.Nanoseconds(),
	}
}

// acknowledge makes the idempotent commands of ack:, one per source. They have no deadline: each names what it
// acknowledges, and the device waits for it.
func (m *machine) acknowledge(d *ruleDef, t *trigger, event string) (out []*inboxv1.Command, err error) {
	for i := range d.acks {
		a := &d.acks[i]
		v, why := a.value(&m.frame)
		if why != nil {
			return nil, &ruleError{"RULE_ACK_" + why.code, "the acknowledgement cannot be made: " + why.message}
		}
		target := m.def.Outputs[a.output.name]
		at := slices.IndexFunc(out, func(c *inboxv1.Command) bool { return c.GetSourceId() == target.Source })
		if at < 0 {
			at = len(out)
			out = append(out, &inboxv1.Command{
				CommandId: m.commandID(d, t, "ack "+target.Source), SourceId: target.Source, AssetPath: m.a.path, Idempotent: true,
				CorrelationId: strings.Join([]string{m.p.name, m.def.Name, d.name, event}, "/"),
			})
		}
		out[at].Writes = append(out[at].Writes, &inboxv1.Write{TagId: target.Tag, Value: v})
	}
	return out, nil
}

func (m *machine) outcome(outcome, code, message string) {
	for slot, v := range map[int]string{slotOutcome: outcome, slotCode: code, slotMessage: message} {
		m.frame.Slots[slot].SetText(v)
	}
}

// await keeps what the event of a write is made of, until its result comes through the log. No clock ends the waiting.
func (m *machine) await(d *ruleDef, c *inboxv1.Command, t *trigger, estimated bool) {
	w := &waitingResult{command: c.GetCommandId(), trigger: *t, estimated: estimated, status: m.frame.Status}
	keep := func(slot int) { w.slots = append(w.slots, savedSlot{slot, m.frame.Slots[slot]}) }
	for _, i := range slices.Concat(d.use.inputs, d.use.asked, d.use.deltas, d.use.changes) {
		for what := range slotsPerInput {
			keep(m.p.inputs[i].at(what))
		}
	}
	for _, i := range d.use.contexts {
		keep(m.p.context[i].slot)
	}
	if t.received != nil {
		w.objects[0], w.objects[1] = t.received.e, t.received.old
	}
	if m.p.operates && m.p.order >= 0 {
		if s := &m.frame.Slots[m.p.context[m.p.order].slot]; s.OK {
			w.objects[2] = m.a.current(s.Text)
		}
	}
	m.keepWaiting(d, c.GetCorrelationId(), w)
	m.a.e.store.mark(w.cell)
}

func (m *machine) keepWaiting(d *ruleDef, correlation string, w *waitingResult) {
	w.cell = m.a.e.store.dynamic(key("w", m.a.path, m.p.name, m.def.Name, d.name, correlation), func(e *encoder) {
		e.text(m.a.path)
		e.text(m.p.name)
		e.text(m.def.Name)
		e.text(d.name)
		e.text(correlation)
		w.encode(e)
	})
	w.cell.fingerprint = fingerprint(m.p.layout())
	m.rules[d.index].waits[correlation] = w
}

func (w *waitingResult) encode(e *encoder) {
	e.text(w.command)
	e.text(w.trigger.kind)
	e.int(w.trigger.at)
	e.text(w.trigger.tag)
	e.uint(uint64(w.trigger.ordinal))
	e.int(w.trigger.from)
	e.int(w.trigger.to)
	e.text(w.trigger.cause)
	e.bool(w.estimated)
	e.uint(uint64(w.status))
	e.uint(uint64(len(w.slots)))
	for i := range w.slots {
		e.uint(uint64(w.slots[i].index))
		e.slot(&w.slots[i].slot)
	}
	for _, o := range w.objects {
		e.bool(o != nil)
		if o != nil {
			e.bytes(o.body)
		}
	}
}

func (w *waitingResult) decode(d *decoder) {
	w.command = d.text()
	w.trigger.kind, w.trigger.at, w.trigger.tag, w.trigger.ordinal = d.text(), d.int(), d.text(), uint32(d.uint())
	w.trigger.from, w.trigger.to, w.trigger.cause, w.trigger.after = d.int(), d.int(), d.text(), noTime
	w.estimated, w.status = d.bool(), pipeline.Quality(d.uint())
	for range d.count() {
		w.slots = append(w.slots, savedSlot{int(d.uint()), d.slot()})
	}
	for i := range w.objects {
		if d.bool() {
			o := &operation{}
			if o.read(d.bytes()) {
				w.objects[i] = o
			}
		}
	}
	if w.objects[0] != nil {
		w.trigger.received = &received{w.objects[0], w.objects[1]}
	}
}

// result takes a command's result and makes the event that waited for it. A repeated result finds nothing that waits.
func (a *asset) result(in *Cause, res *inboxv1.CommandResult, out *Effects) {
	for _, m := range a.machines {
		for i, d := range m.p.rules {
			w := m.rules[i].waits[res.GetCorrelationId()]
			if w == nil || w.command != res.GetCommandId() {
				continue
			}
			delete(m.rules[i].waits, res.GetCorrelationId())
			a.e.store.remove(w.cell)
			r := run{m: m, in: in, out: out}
			m.resolved(&r, d, w, res)
			m.flush(&r)
		}
	}
}

// resolved evaluates a rule's event with the values of its firing and the outcome.
func (m *machine) resolved(r *run, d *ruleDef, w *waitingResult, res *inboxv1.CommandResult) {
	defer func() {
		if why := recover(); why != nil {
			r.dead(d, &w.trigger, "", &ruleError{"RULE_PANIC", panicText(why)})
		}
	}()
	slots := m.frame.Slots
	defer func() { m.frame.Slots = slots }()
	m.frame.Slots = slices.Clone(slots)
	for _, s := range w.slots {
		if s.index < len(m.frame.Slots) {
			m.frame.Slots[s.index] = s.slot
		}
	}
	m.frame.Status, m.frame.Overflows = w.status, 0
	m.setTime(w.trigger.at)
	m.setObjects(&w.trigger)
	if o := w.objects[2]; o != nil {
		m.frame.Objects[objectOperation], m.frame.Objects[objectOperationOrder] = message(o.op), message(o.order)
	}
	m.outcome(strings.TrimPrefix(res.GetOutcome().String(), "COMMAND_OUTCOME_"), res.GetCode(), res.GetMessage())
	m.finish(r, d, &w.trigger, w.estimated, &firing{rule: d})
}
