package engine

import (
	"slices"

	"github.com/plantloom/plantloom/mapping/formula"
)

// ruleState is what a rule of one machine remembers.
type ruleState struct {
	cell *cell

	known, last bool  // of when: the newest value
	fired       int64 // time of the previous trigger
	again       uint32
	everFired   bool
	due         []dueFiring // settling, in the order of time
	waiting     *dueFiring  // for a good value

	tick, from int64          // of every: the next end, and where the interval began
	split      []formula.Slot // newest values of split
	seen       formula.Slot   // of on: the newest value

	bases    map[int]*base // deltas and changes, by input
	waits    map[string]*waitingResult
	unbooked map[int]*unbooked // counts that the rule's if refused
}

// dueFiring is a trigger whose evaluation is still to come.
type dueFiring struct {
	at      int64 // of the evaluation
	edge    int64 // of the trigger
	tag     string
	ordinal uint32
	after   int64 // the rule's trigger before this one, noTime when there was none
}

// base is where an interval's delta begins, and what changed compares with.
type base struct {
	cell     *cell
	set      bool
	value    formula.Slot // of inputs without a counter, and of changed
	total    int64
	estimate uint64
}

type unbooked struct {
	cell  *cell
	whole int64
	real  float64
}

func (rs *ruleState) encode(e *encoder) {
	e.bool(rs.known)
	e.bool(rs.last)
	e.bool(rs.everFired)
	e.int(rs.fired)
	e.uint(uint64(rs.again))
	e.int(rs.tick)
	e.int(rs.from)
	e.uint(uint64(len(rs.split)))
	for i := range rs.split {
		e.slot(&rs.split[i])
	}
	e.slot(&rs.seen)
	due := rs.due
	if rs.waiting != nil {
		due = append(slices.Clip(due), *rs.waiting)
	}
	e.bool(rs.waiting != nil)
	e.uint(uint64(len(due)))
	for _, d := range due {
		e.int(d.at)
		e.int(d.edge)
		e.text(d.tag)
		e.uint(uint64(d.ordinal))
		e.int(d.after)
	}
}

func (rs *ruleState) decode(d *decoder) {
	rs.known, rs.last, rs.everFired = d.bool(), d.bool(), d.bool()
	rs.fired, rs.again = d.int(), uint32(d.uint())
	rs.tick, rs.from = d.int(), d.int()
	rs.split = nil
	for range d.count() {
		rs.split = append(rs.split, d.slot())
	}
	rs.seen = d.slot()
	waiting := d.bool()
	rs.due = nil
	for range d.count() {
		rs.due = append(rs.due, dueFiring{d.int(), d.int(), d.text(), uint32(d.uint()), d.int()})
	}
	if waiting && len(rs.due) > 0 {
		last := rs.due[len(rs.due)-1]
		rs.waiting, rs.due = &last, rs.due[:len(rs.due)-1]
	}
}

func (b *base) encode(e *encoder) {
	e.bool(b.set)
	e.slot(&b.value)
	e.int(b.total)
	e.uint(b.estimate)
}

func (b *base) decode(d *decoder) {
	b.set, b.value, b.total, b.estimate = d.bool(), d.slot(), d.int(), d.uint()
}
