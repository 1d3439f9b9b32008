package engine

import (
	"slices"

	"github.com/plantloom/plantloom/mapping/formula"
)

// adopt takes a context's new value, unless it does not stay for min_stable. Samples up to there are all in the queue:
// the machine stays behind the watermark for that long.
func (m *machine) adopt(i int, p *pending, later []pending) {
	d := &m.p.context[i]
	slot := &m.frame.Slots[d.slot]
	var v formula.Slot
	if p.status.IsBad() || !convert(d.kind, p.value, &v) {
		return // no good value: the context stays
	}
	if slot.OK && slot.Bits == v.Bits && slot.Text == v.Text {
		return
	}
	if d.minStable > 0 && (m.flickers(d, &v, p, later) || m.flickers(d, &v, p, m.after(p.at))) {
		return
	}
	v.OK, v.At, v.Status, v.Raw = true, p.at, p.status, p.status
	*slot = v
	m.a.e.store.mark(m.context[i])
}

// after returns the queued samples behind an instant.
func (m *machine) after(at int64) []pending {
	i, _ := slices.BinarySearchFunc(m.queue, at, func(q pending, at int64) int {
		if q.at <= at {
			return -1
		}
		return 1
	})
	return m.queue[i:]
}

// flickers says whether another good value follows before v has stood for min_stable.
func (m *machine) flickers(d *contextDef, v *formula.Slot, p *pending, later []pending) bool {
	for i := range later {
		q := &later[i]
		if q.at >= p.at+d.minStable {
			return false
		}
		var w formula.Slot
		if q.tag == p.tag && !q.status.IsBad() && convert(d.kind, q.value, &w) && (w.Bits != v.Bits || w.Text != v.Text) {
			return true
		}
	}
	return false
}

// lacks says whether a tag feeds an input or context of which nothing is known, and nothing is on its way.
func (m *machine) lacks(tag string) bool {
	if slices.ContainsFunc(m.queue, func(p pending) bool { return p.tag == tag }) {
		return false
	}
	return slices.ContainsFunc(m.uses[tag], func(use int) bool {
		if use < len(m.p.inputs) {
			return m.inputs[use].seenAt == 0
		}
		return !m.frame.Slots[m.p.context[use-len(m.p.inputs)].slot].OK
	})
}
