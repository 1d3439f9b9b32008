package engine

import (
	"slices"

	"github.com/plantloom/plantloom/mapping/formula"
)

// trigger is why a rule fires.
type trigger struct {
	kind     string // when, on, interval, receive
	at       int64  // event_time
	tag      string // of when and on
	ordinal  uint32 // among triggers of this rule at this time
	from, to int64  // of an interval
	cause    string // of receive: order, operation and revision
	received *received
	before   bool  // deltas end in front of the instant at; else they reach to it
	gap      bool  // numbers were skipped
	after    int64 // the rule's previous trigger, noTime when there is none or it does not matter
}

// touchedBy says whether samples of this round feed what a formula reads.
func (m *machine) touchedBy(u *sources) bool {
	for _, list := range [][]int{u.inputs, u.asked} {
		for _, i := range list {
			if m.touched[i] {
				return true
			}
		}
	}
	for _, i := range u.contexts {
		if m.touched[len(m.p.inputs)+i] {
			return true
		}
	}
	return false
}

// round evaluates what the samples of a round may trigger.
func (m *machine) round(r *run, at int64) {
	for i, d := range m.p.rules {
		rs := &m.rules[i]
		switch d.trigger {
		case byWhen:
			if m.touchedBy(&d.whenUse) {
				m.edge(r, d, rs, at)
			}
		case byOn:
			if d.on >= 0 && m.touched[d.on] {
				m.onValue(r, d, rs, at)
			}
		}
		if rs.waiting != nil && m.ready(d) {
			due := *rs.waiting
			rs.waiting = nil
			m.a.e.store.mark(rs.cell)
			m.fire(r, d, &trigger{kind: d.kind(), at: due.edge, tag: due.tag, ordinal: due.ordinal, after: due.after})
		}
	}
}

func (d *ruleDef) kind() string {
	return [...]string{byWhen: "when", byEvery: "interval", byOn: "on", byReceive: "receive"}[d.trigger]
}

// edge looks for the instant at which when turns true. The first value known is no edge, and neither is one that a
// restart or a bad reading interrupts: the newest known value is part of the state.
func (m *machine) edge(r *run, d *ruleDef, rs *ruleState, at int64) {
	now, ok := m.guarded(r, d, at, d.when)
	if !ok {
		return
	}
	rising := rs.known && !rs.last && now
	if !rs.known || rs.last != now {
		rs.known, rs.last = true, now
		m.a.e.store.mark(rs.cell)
	}
	if rising {
		m.triggered(r, d, rs, at, m.triggerTag(&d.whenUse), false)
	}
}

// guarded evaluates a trigger's formula; a panic in it is a dead letter, and the value is not known.
func (m *machine) guarded(r *run, d *ruleDef, at int64, f formula.BoolFunc) (v, ok bool) {
	defer func() {
		if why := recover(); why != nil {
			v, ok = false, false
			r.dead(d, &trigger{kind: d.kind(), at: at}, "", &ruleError{"RULE_PANIC", panicText(why)})
		}
	}()
	m.setTime(at)
	m.setObjects(&trigger{})
	restore := m.hold(d.whenUse.inputs, at, noTime)
	defer restore()
	return f(&m.frame)
}

func (m *machine) setTime(at int64) {
	s := &m.frame.Slots[slotEventTime]
	s.SetInt(at)
	s.At = at
}

// triggerTag is the first input of a formula that changed in this round.
func (m *machine) triggerTag(u *sources) string {
	all := slices.Concat(u.inputs, u.asked)
	slices.Sort(all)
	for _, i := range all {
		if m.touched[i] {
			return m.def.Inputs[m.p.inputs[i].name]
		}
	}
	for _, i := range u.contexts {
		if m.touched[len(m.p.inputs)+i] {
			return m.def.Inputs[m.p.context[i].name]
		}
	}
	return ""
}

// onValue fires at each new good value of an input; the first one is new too.
func (m *machine) onValue(r *run, d *ruleDef, rs *ruleState, at int64) {
	is := &m.inputs[d.on]
	if !is.good.OK || is.good.At != at || is.status.IsBad() {
		return
	}
	seen := rs.seen
	if seen.OK && seen.Bits == is.good.Bits && seen.Text == is.good.Text {
		return
	}
	rs.seen = is.good
	m.a.e.store.mark(rs.cell)
	gap := d.step != 0 && seen.OK && int64(is.good.Bits)-int64(seen.Bits) != d.step
	m.triggered(r, d, rs, at, m.def.Inputs[m.p.inputs[d.on].name], gap)
}

// triggered fires a rule at once, or notes that it settles or waits.
func (m *machine) triggered(r *run, d *ruleDef, rs *ruleState, at int64, tag string, gap bool) {
	if rs.everFired && rs.fired == at && rs.again < 1<<30 {
		rs.again++
	} else {
		rs.again = 0
	}
	m.a.e.store.mark(rs.cell)
	due := dueFiring{at: at + d.settle, edge: at, tag: tag, ordinal: rs.again, after: noTime}
	if rs.everFired {
		due.after = rs.fired
	}
	rs.fired, rs.everFired = at, true
	if d.settle > 0 {
		rs.due = append(rs.due, due)
		return
	}
	m.evaluate(r, d, rs, due, gap, true)
}

// evaluate fires, or waits for the inputs that must be good. A trigger that comes while one waits takes its place: the
// values to come belong to the new one.
func (m *machine) evaluate(r *run, d *ruleDef, rs *ruleState, due dueFiring, gap, before bool) {
	t := &trigger{kind: d.kind(), at: due.edge, tag: due.tag, ordinal: due.ordinal, gap: gap, before: before, after: due.after}
	if rs.waiting != nil {
		old := rs.waiting
		r.dead(d, &trigger{kind: d.kind(), at: old.edge, tag: old.tag, ordinal: old.ordinal}, "",
			&ruleError{"RULE_WAITED_IN_VAIN", "the good value that the rule waited for did not come before its next trigger"})
		rs.waiting = nil
	}
	if !m.ready(d) {
		rs.waiting = &due
		m.a.e.store.mark(rs.cell)
		return
	}
	m.fire(r, d, t)
}

// ready says whether all inputs with bad: wait are good.
func (m *machine) ready(d *ruleDef) bool {
	for _, i := range d.waits {
		if !m.frame.Slots[m.p.inputs[i].at(ofValue)].OK {
			return false
		}
	}
	return true
}

// settled evaluates the triggers whose time to settle has passed, with the values of now.
func (m *machine) settled(r *run, at int64) {
	for i, d := range m.p.rules {
		rs := &m.rules[i]
		for len(rs.due) > 0 && rs.due[0].at <= at {
			due := rs.due[0]
			rs.due = rs.due[1:]
			m.a.e.store.mark(rs.cell)
			m.evaluate(r, d, rs, due, false, false)
		}
	}
}

// split ends the interval of rules whose split changed at this instant. What they say is of before the instant: the old
// order, and counts up to it.
func (m *machine) split(r *run, at int64) {
	for i, d := range m.p.rules {
		if len(d.splits) == 0 {
			continue
		}
		rs := &m.rules[i]
		changed := false
		values := make([]formula.Slot, len(d.splits))
		for j := range d.splits {
			values[j] = m.splitValue(r, d, &d.splits[j], at)
			var was formula.Slot
			if j < len(rs.split) {
				was = rs.split[j]
			}
			changed = changed || was.OK != values[j].OK || was.Bits != values[j].Bits || was.Text != values[j].Text
		}
		if !changed {
			continue
		}
		rs.split = values
		m.frame.Slots, m.old = m.old, m.frame.Slots
		m.close(r, d, rs, at)
		m.frame.Slots, m.old = m.old, m.frame.Slots
	}
}

// splitValue is the value of a split expression as a slot.
func (m *machine) splitValue(r *run, d *ruleDef, s *splitDef, at int64) (v formula.Slot) {
	defer func() {
		if why := recover(); why != nil {
			v = formula.Slot{}
			r.dead(d, &trigger{kind: d.kind(), at: at}, "", &ruleError{"RULE_PANIC", panicText(why)})
		}
	}()
	m.setTime(at)
	m.setObjects(&trigger{})
	e, f := s.expr, &m.frame
	switch e.Kind {
	case formula.Bool:
		if x, ok := e.Bool(f); ok {
			v.SetBool(x)
		}
	case formula.Int, formula.Time:
		if x, ok := e.Int(f); ok {
			v.SetInt(x)
		}
	case formula.Uint:
		if x, ok := e.Uint(f); ok {
			v.SetUint(x)
		}
	case formula.Float:
		if x, ok := e.Float(f); ok {
			v.SetFloat(x)
		}
	case formula.Text:
		if x, ok := e.Text(f); ok {
			v.SetText(x)
		}
	}
	return v
}
