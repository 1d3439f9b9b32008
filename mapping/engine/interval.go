package engine

import (
	"math"

	"github.com/plantloom/plantloom/mapping/formula"
	"github.com/plantloom/plantloom/pipeline"
)

// intervalValues fills the delta and changed slots of a rule from its baselines, all of one interval. It returns
// whether a count is estimated.
func (m *machine) intervalValues(d *ruleDef, at int64, before bool) (estimated bool) {
	rs := &m.rules[d.index]
	for _, i := range d.use.deltas {
		in, b := &m.p.inputs[i], rs.bases[i]
		slot := &m.frame.Slots[in.at(ofDelta)]
		slot.Clear()
		total, good, estimates := m.border(i, at, before)
		if !good.OK {
			continue
		}
		if in.counter != nil {
			from, fromEstimate := int64(0), uint64(0) // the first value ever is the baseline
			if b.set {
				from, fromEstimate = b.total, b.estimate
			}
			slot.SetInt(total - from)
			estimated = estimated || estimates > fromEstimate
			continue
		}
		from := m.inputs[i].first
		if b.set && b.value.OK {
			from = b.value
		}
		m.difference(in.kind, slot, &good, &from)
	}
	for _, i := range d.use.changes {
		in, b := &m.p.inputs[i], rs.bases[i]
		now := &m.frame.Slots[in.at(ofValue)]
		slot := &m.frame.Slots[in.at(ofChanged)]
		slot.SetBool(b.set && now.OK && b.value.OK && (b.value.Bits != now.Bits || b.value.Text != now.Text))
	}
	return estimated
}

// border is what an input's counter and good value were at the end of an interval: in front of the instant at, or
// with it.
func (m *machine) border(i int, at int64, before bool) (total int64, good formula.Slot, estimates uint64) {
	is := &m.inputs[i]
	if before && is.changedAt == at {
		return is.before, is.goodBefore, is.estBefore
	}
	return is.total, is.good, is.estimates
}

// difference of two good values; what does not fit is null and bad.
func (m *machine) difference(k formula.Kind, out, to, from *formula.Slot) {
	undefined := func() {
		m.frame.Overflows++
		m.frame.Status = m.frame.Status.Worse(pipeline.BadOutOfRange)
	}
	switch k {
	case formula.Float:
		out.SetFloat(math.Float64frombits(to.Bits) - math.Float64frombits(from.Bits))
		if !out.OK {
			undefined()
		}
	case formula.Uint:
		d := to.Bits - from.Bits
		if (to.Bits >= from.Bits) != (int64(d) >= 0) {
			undefined()
			return
		}
		out.SetInt(int64(d))
	default:
		a, b := int64(to.Bits), int64(from.Bits)
		d := a - b
		if (d < a) != (b > 0) && b != 0 {
			undefined()
			return
		}
		out.SetInt(d)
	}
}

// rebase moves the baselines of a rule to the end of an interval, whatever its if: said.
func (m *machine) rebase(d *ruleDef, at int64, before bool) {
	rs := &m.rules[d.index]
	for _, i := range d.use.deltas {
		b := rs.bases[i]
		total, good, estimates := m.border(i, at, before)
		if !good.OK {
			continue
		}
		b.set, b.total, b.value, b.estimate = true, total, good, estimates
		m.a.e.store.mark(b.cell)
	}
	for _, i := range d.use.changes {
		if now := m.frame.Slots[m.p.inputs[i].at(ofValue)]; now.OK {
			b := rs.bases[i]
			b.set, b.value = true, now
			m.a.e.store.mark(b.cell)
		}
	}
}

// book adds the counts of an interval that if: refused to the machine's unbooked totals, never to the next interval.
func (m *machine) book(r *run, d *ruleDef) {
	rs, any := &m.rules[d.index], false
	for _, i := range d.use.deltas {
		in := &m.p.inputs[i]
		slot := &m.frame.Slots[in.at(ofDelta)]
		if !slot.OK {
			continue
		}
		u := rs.unbooked[i]
		if in.kind == formula.Float {
			x := math.Float64frombits(slot.Bits)
			if x == 0 {
				continue
			}
			u.real += x
		} else {
			n := int64(slot.Bits)
			if n == 0 {
				continue
			}
			u.whole += n
		}
		any = true
		m.a.e.store.mark(u.cell)
	}
	if any {
		r.out.Unbooked++
	}
}

// hold takes from the frame held values that are too old: beyond max_age, or not younger than after, the rule's
// previous trigger, whose part is another one. It returns what puts them back.
func (m *machine) hold(inputs []int, at, after int64) (restore func()) {
	var taken []int
	for _, i := range inputs {
		in := &m.p.inputs[i]
		slot := &m.frame.Slots[in.at(ofValue)]
		if in.bad != BadHold || !slot.OK || !slot.Raw.IsBad() {
			continue
		}
		if slot.At <= after || (in.maxAge > 0 && at-slot.At > in.maxAge) {
			slot.OK, slot.Status = false, slot.Raw
			taken = append(taken, i)
		}
	}
	if taken == nil {
		return func() {}
	}
	return func() {
		for _, i := range taken {
			slot := &m.frame.Slots[m.p.inputs[i].at(ofValue)]
			slot.OK, slot.Status = true, pipeline.UncertainLastUsable
		}
	}
}

// quality is the worst of what made an event: current values as formulas saw them, counters that miss values, and what
// evaluation itself met.
func (m *machine) quality(d *ruleDef, estimated bool) pipeline.Quality {
	q := m.frame.Status
	for _, list := range [][]int{d.use.inputs, d.use.asked} {
		for _, i := range list {
			slot := &m.frame.Slots[m.p.inputs[i].at(ofValue)]
			if slot.At == 0 {
				q = q.Worse(pipeline.BadWaitingForInitialData)
				continue
			}
			q = q.Worse(slot.Status)
		}
	}
	for _, i := range d.use.deltas {
		switch is := &m.inputs[i]; {
		case !is.good.OK:
			q = q.Worse(pipeline.BadWaitingForInitialData)
		case is.status.IsBad():
			q = q.Worse(pipeline.UncertainLastUsable)
		default:
			q = q.Worse(is.status)
		}
	}
	if estimated {
		q = q.Worse(pipeline.UncertainSubNormal)
	}
	if q.IsGood() {
		return pipeline.Good
	}
	return q
}
