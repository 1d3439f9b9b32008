package engine

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// valueFrom makes a value of its parts, bit by bit.
func valueFrom(t pipeline.Type, bits uint64, text string) pipeline.Value {
	switch t {
	case pipeline.TypeBool:
		return pipeline.Bool(bits == 1)
	case pipeline.TypeInt:
		return pipeline.Int(int64(bits))
	case pipeline.TypeUint:
		return pipeline.Uint(bits)
	case pipeline.TypeFloat:
		return pipeline.Float(math.Float32frombits(uint32(bits)))
	case pipeline.TypeDouble:
		return pipeline.Double(math.Float64frombits(bits))
	case pipeline.TypeText:
		return pipeline.Text(text)
	case pipeline.TypeBytes:
		return pipeline.Bytes([]byte(text))
	case pipeline.TypeTime:
		return pipeline.Time(time.Unix(0, int64(bits)))
	case pipeline.TypeJSON:
		return pipeline.JSON(text)
	}
	return pipeline.Null()
}

// cells gives every piece of the machine's state its cell, with a fingerprint of what it belongs to: another type,
// counter or formula begins anew, and white space changes nothing.
func (m *machine) cells() {
	s := m.a.e.store
	name := func(kind string, more ...string) string {
		return key(append([]string{kind, m.a.path, m.p.name, m.def.Name}, more...)...)
	}
	m.cell = s.fixed(name("m"), 0, m.encode, m.decode)
	for i := range m.inputs {
		d, is := &m.p.inputs[i], &m.inputs[i]
		is.cell = s.fixed(name("i", d.name), fingerprint(d.canonical()), is.encode, is.decode)
	}
	for i := range m.context {
		d := &m.p.context[i]
		m.context[i] = s.fixed(name("c", d.name), fingerprint(d.kind.String()),
			func(e *encoder) { e.slot(&m.frame.Slots[d.slot]) }, func(x *decoder) { m.frame.Slots[d.slot] = x.slot() })
	}
	for i, d := range m.p.rules {
		rs := &m.rules[i]
		rs.waits, rs.bases, rs.unbooked = map[string]*waitingResult{}, map[int]*base{}, map[int]*unbooked{}
		rs.cell = s.fixed(name("r", d.name), fingerprint(d.canonical), rs.encode, rs.decode)
		m.baseCells(d, rs, name)
	}
}

func (m *machine) baseCells(d *ruleDef, rs *ruleState, name func(string, ...string) string) {
	s := m.a.e.store
	for _, in := range union2(d.use.deltas, d.use.changes) {
		b, def := &base{}, &m.p.inputs[in]
		b.cell = s.fixed(name("d", d.name, def.name), fingerprint(def.canonical()), b.encode, b.decode)
		rs.bases[in] = b
	}
	for _, in := range d.use.deltas {
		u, def := &unbooked{}, &m.p.inputs[in]
		u.cell = s.fixed(name("u", d.name, def.name), fingerprint(def.kind.String()),
			func(e *encoder) { e.int(u.whole); e.fixed(math.Float64bits(u.real)) },
			func(x *decoder) { u.whole, u.real = x.int(), math.Float64frombits(x.fixed()) })
		rs.unbooked[in] = u
	}
}

func union2(a, b []int) []int {
	for _, i := range b {
		a = with(a, i)
	}
	return a
}

// canonical is what an input's state belongs to: its type and how it counts.
func (d *inputDef) canonical() string {
	text := d.kind.String()
	if c := d.counter; c != nil {
		text += " counter " + strconv.FormatInt(c.Min, 10) + " " + strconv.FormatInt(c.Max, 10)
	}
	return text
}

// layout is what saved slots belong to: which slot is which.
func (p *Program) layout() (text string) {
	for i := range p.inputs {
		text += p.inputs[i].name + " " + p.inputs[i].canonical() + ";"
	}
	for i := range p.context {
		text += p.context[i].name + " " + p.context[i].kind.String() + ";"
	}
	return text + strconv.Itoa(len(p.columns))
}

func (m *machine) encode(e *encoder) {
	e.bool(m.started)
	e.uint(uint64(len(m.queue)))
	for i := range m.queue {
		p := &m.queue[i]
		e.int(p.at)
		e.text(p.source)
		e.uint(p.position)
		e.text(p.tag)
		e.uint(uint64(p.ordinal))
		e.value(p.value)
		e.uint(uint64(p.status))
	}
}

func (m *machine) decode(d *decoder) {
	m.started = d.bool()
	m.queue = nil
	for range d.count() {
		m.queue = append(m.queue, pending{
			at: d.int(), source: d.text(), position: d.uint(), tag: d.text(), ordinal: uint32(d.uint()),
			value: d.value(), status: pipeline.Quality(d.uint()),
		})
	}
}

func (is *inputState) encode(e *encoder) {
	e.slot(&is.good)
	e.slot(&is.prev)
	e.slot(&is.first)
	e.int(is.total)
	e.int(is.before)
	e.uint(is.estimates)
	e.uint(is.estBefore)
	e.int(is.changedAt)
	e.slot(&is.goodBefore)
	e.uint(uint64(is.status))
	e.bool(is.held)
	e.int(is.seenAt)
	e.slot(&is.newest)
	e.bool(is.usable)
}

func (is *inputState) decode(d *decoder) {
	is.good, is.prev, is.first = d.slot(), d.slot(), d.slot()
	is.total, is.before, is.estimates, is.estBefore = d.int(), d.int(), d.uint(), d.uint()
	is.changedAt, is.goodBefore = d.int(), d.slot()
	is.status, is.held, is.seenAt = pipeline.Quality(d.uint()), d.bool(), d.int()
	is.newest, is.usable = d.slot(), d.bool()
}

// Restore sets the state of a new engine from a snapshot and the deltas since, in their order. Cells that no machine or
// rule knows, and cells of another fingerprint, are left out: what they belong to begins anew.
func (e *Engine) Restore(snapshot []byte, deltas ...[]byte) error {
	saved := map[string]savedCell{}
	if err := readCells(saved, snapshot); err != nil {
		return fmt.Errorf("reading the snapshot: %w", err)
	}
	for i, d := range deltas {
		if err := readCells(saved, d); err != nil {
			return fmt.Errorf("reading delta %d: %w", i, err)
		}
	}
	for _, k := range sorted(saved) {
		if err := e.restoreCell(k, saved[k]); err != nil {
			return err
		}
	}
	for _, c := range e.store.dirty {
		c.dirty = false
	}
	e.store.dirty = e.store.dirty[:0]
	for _, path := range e.paths {
		for _, m := range e.assets[path].machines {
			m.restored() // what begins here is part of the next delta
		}
	}
	return nil
}

func (e *Engine) restoreCell(k string, saved savedCell) error {
	d := &decoder{b: saved.body}
	if c := e.store.cells[k]; c != nil && c.decode != nil {
		if c.fingerprint != saved.fingerprint {
			return nil
		}
		c.decode(d)
		c.live, c.fresh = true, false
	} else if c == nil {
		e.restoreDynamic(k, saved.fingerprint, d)
	}
	if d.bad {
		return fmt.Errorf("%w: a cell is too short", errState)
	}
	return nil
}

// restoreDynamic takes a cell that says itself what it belongs to. The first part of its key says what it is.
func (e *Engine) restoreDynamic(k string, fp uint64, d *decoder) {
	kind := (&decoder{b: []byte(k)}).text()
	switch kind {
	case "s", "q", "o", "w":
	default:
		return // of a machine or rule that is not there
	}
	a := e.assets[d.text()]
	if a == nil {
		return
	}
	switch kind {
	case "s":
		a.seen.restored(d)
	case "q":
		s := a.newSequence(seqKey{d.text(), d.text()})
		s.n, s.used, s.cell.live = d.uint(), d.uint(), true
	case "o":
		o := &operation{used: d.uint()}
		if o.read(d.bytes()) {
			a.put(opKey{o.order.GetOrderId(), o.op.GetOperationId()}, o)
		}
	case "w":
		a.restoreWaiting(fp, d)
	}
}

func (a *asset) restoreWaiting(fp uint64, d *decoder) {
	program, name, rule, correlation := d.text(), d.text(), d.text(), d.text()
	w := &waitingResult{}
	w.decode(d)
	for _, m := range a.machines {
		if m.p.name != program || m.def.Name != name {
			continue
		}
		for _, r := range m.p.rules {
			if r.name != rule || r.message == nil {
				continue
			}
			if fp != fingerprint(m.p.layout()) {
				w.slots = nil // slots of another layout; the operation itself is known by name
			}
			m.keepWaiting(r, correlation, w)
			w.cell.live = true
		}
	}
}

// known puts all cells of a rule into the state, so that a later version can tell a new rule from a quiet one.
func (m *machine) known(rs *ruleState) {
	cells := []*cell{rs.cell}
	for _, b := range rs.bases {
		cells = append(cells, b.cell)
	}
	for _, c := range cells {
		if !c.live {
			m.a.e.store.mark(c)
		}
	}
}

// restored rebuilds what follows from the cells, and gives rules that are new in this version their beginning: now, not
// the first value ever.
func (m *machine) restored() {
	for i := range m.inputs {
		if is := &m.inputs[i]; is.cell.live {
			m.show(i, is.newest, is.usable)
		}
	}
	if !m.started {
		return
	}
	now := m.a.w - m.p.lag
	for i, d := range m.p.rules {
		rs := &m.rules[i]
		if d.trigger == byEvery && rs.tick == 0 {
			rs.from, rs.tick = now, (floorDiv(now, d.every)+1)*d.every
		}
		for in, b := range rs.bases {
			if is := &m.inputs[in]; b.cell.fresh && is.good.OK {
				b.set, b.total, b.value, b.estimate = true, is.total, is.good, is.estimates
			}
		}
		m.known(rs)
	}
}
