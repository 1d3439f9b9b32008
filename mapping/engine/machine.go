package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/mapping/formula"
	"github.com/plantloom/plantloom/pipeline"
)

// maxEmpty is how many empty intervals on end a rule reports one by one; a longer silence, such as a source's clock
// that was years behind, is one interval.
const maxEmpty = 1440

// pending is a sample between its arrival and the watermark's passing.
type pending struct {
	at       int64
	source   string
	position uint64
	tag      string
	ordinal  uint32
	value    pipeline.Value
	status   pipeline.Quality
}

// before is the order in which samples are applied: source time, then the order of their source.
func (p *pending) before(o *pending) bool {
	switch {
	case p.at != o.at:
		return p.at < o.at
	case p.source != o.source:
		return p.source < o.source
	case p.position != o.position:
		return p.position < o.position
	case p.tag != o.tag:
		return p.tag < o.tag
	}
	return p.ordinal < o.ordinal
}

// machine is one machine of a mapping.
type machine struct {
	a        *asset
	p        *Program
	def      Machine
	index    int
	identity string // in ids: the asset, and the name where the asset has several machines of the mapping
	cell     *cell

	frame   formula.Frame
	old     []formula.Slot // the frame in front of an instant, for splits
	inputs  []inputState
	context []*cell
	rules   []ruleState
	uses    map[string][]int // by tag

	queue   []pending
	started bool
	firings []firing
	touched []bool // inputs, then contexts: by samples of the round
}

func newMachine(a *asset, index int, p *Program, def *Machine) (*machine, error) {
	m := &machine{
		a: a, p: p, def: *def, index: index, identity: def.Asset, uses: map[string][]int{},
		inputs: make([]inputState, len(p.inputs)), context: make([]*cell, len(p.context)),
		rules: make([]ruleState, len(p.rules)), touched: make([]bool, len(p.inputs)+len(p.context)),
	}
	m.frame.Slots = make([]formula.Slot, p.slots)
	m.frame.Objects = make([]protoreflect.Message, objects)
	for _, c := range p.columns {
		v, ok := def.Columns[c.name]
		if !ok {
			v = map[string]pipeline.Value{"name": pipeline.Text(def.Name), "asset": pipeline.Text(def.Asset)}[c.name]
		}
		m.frame.Slots[c.slot].Set(c.kind, v)
	}
	if err := m.targets(); err != nil {
		return nil, err
	}
	m.wire()
	m.cells()
	return m, nil
}

// wire notes which tags feed which inputs and contexts.
func (m *machine) wire() {
	add := func(name string, index int) {
		tag := m.def.Inputs[name]
		if tag == "" {
			return
		}
		m.uses[tag] = append(m.uses[tag], index)
		m.a.tags[tag] = append(m.a.tags[tag], tagUse{m, index})
	}
	for i := range m.p.inputs {
		add(m.p.inputs[i].name, i)
	}
	for i := range m.p.context {
		add(m.p.context[i].name, len(m.p.inputs)+i)
	}
}

// targets checks that each group of writes goes to one source: one process executes it whole (R3).
func (m *machine) targets() error {
	for _, r := range m.p.rules {
		var names []string
		for _, w := range r.writes {
			if w.output.table == nil {
				names = append(names, w.output.name)
			}
			for _, row := range w.output.table {
				names = append(names, w.output.name+"/"+row.name)
			}
		}
		if h := r.shake; h != nil {
			for _, s := range []*Source{h.Request, h.Ack, h.Nack, h.Code} {
				if s != nil {
					names = append(names, s.Text)
				}
			}
		}
		to := ""
		for _, name := range names {
			t, ok := m.def.Outputs[name]
			if !ok || t.Tag == "" || t.Source == "" {
				return fmt.Errorf("output %q has no tag that can be written", name)
			}
			if to != "" && t.Source != to {
				return fmt.Errorf("rule %s writes to the sources %s and %s: a group goes to one source", r.name, to, t.Source)
			}
			to = t.Source
		}
		for _, w := range r.acks {
			if t := m.def.Outputs[w.output.name]; t.Tag == "" || t.Source == "" {
				return fmt.Errorf("output %q has no tag that can be written", w.output.name)
			}
		}
	}
	return nil
}

// keep puts a sample into the queue, in the order of event time.
func (m *machine) keep(p pending, op pipeline.Op) {
	m.a.e.store.mark(m.cell)
	at, _ := slices.BinarySearchFunc(m.queue, &p, func(q pending, p *pending) int {
		switch {
		case q.before(p):
			return -1
		case p.before(&q):
			return 1
		}
		return -1 // equal in every respect: behind it, by arrival
	})
	if op != pipeline.OpAdd {
		m.queue = slices.DeleteFunc(m.queue, func(q pending) bool { return q.tag == p.tag && q.at == p.at && q.ordinal == p.ordinal })
		if op == pipeline.OpDelete {
			return
		}
		at = min(at, len(m.queue))
		for at > 0 && p.before(&m.queue[at-1]) {
			at--
		}
	}
	m.queue = slices.Insert(m.queue, at, p)
}

// next returns the next instant at which the machine has something to do, in front of limit. Samples and settled
// values of an instant need all samples of it, an interval's end only those in front of it.
func (m *machine) next(limit int64) (int64, bool) {
	at, ok := int64(math.MaxInt64), false
	if len(m.queue) > 0 && m.queue[0].at < limit {
		at, ok = m.queue[0].at, true
	}
	if !m.started {
		return at, ok
	}
	for i := range m.rules {
		rs, r := &m.rules[i], m.p.rules[i]
		if r.trigger == byEvery && rs.tick <= limit && rs.tick < at {
			at, ok = rs.tick, true
		}
		if len(rs.due) > 0 && rs.due[0].at < limit && rs.due[0].at < at {
			at, ok = rs.due[0].at, true
		}
	}
	return at, ok
}

// step does all that is due at one instant: intervals that end at it, its samples, and what they trigger. What it gives
// comes in the order of the rules in the file.
func (m *machine) step(in *Cause, at, limit int64, out *Effects) {
	m.a.e.store.mark(m.cell)
	r := run{m: m, in: in, out: out}
	m.ticks(&r, at, limit)
	n := 0
	for n < len(m.queue) && m.queue[n].at == at {
		n++
	}
	if n > 0 && at < limit {
		group := m.queue[:n:n]
		if !m.started {
			m.start(at)
		}
		m.instant(&r, at, group)
		m.queue = slices.Delete(m.queue, 0, n)
	}
	if at < limit {
		m.settled(&r, at)
	}
	m.flush(&r)
}

// start begins a machine's time at its first sample.
func (m *machine) start(at int64) {
	m.started = true
	for i, r := range m.p.rules {
		if rs := &m.rules[i]; r.trigger == byEvery {
			rs.from, rs.tick = at, (floorDiv(at, r.every)+1)*r.every
		}
		m.known(&m.rules[i])
	}
}

// ticks ends the intervals that end at an instant, before its samples count.
func (m *machine) ticks(r *run, at, limit int64) {
	if !m.started {
		return
	}
	for i, d := range m.p.rules {
		rs := &m.rules[i]
		if d.trigger != byEvery || rs.tick != at {
			continue
		}
		m.close(r, d, rs, at)
		horizon := limit
		if len(m.queue) > 0 {
			horizon = min(horizon, m.queue[0].at)
		}
		rs.tick = at + d.every
		if (horizon-at)/d.every > maxEmpty {
			rs.tick = floorDiv(horizon, d.every) * d.every
		}
	}
}

// close ends an interval and begins the next one. An empty interval gives nothing.
func (m *machine) close(r *run, d *ruleDef, rs *ruleState, at int64) {
	from := rs.from
	rs.from = at
	m.a.e.store.mark(rs.cell)
	if from < at {
		m.fire(r, d, &trigger{kind: "interval", at: at, from: from, to: at, before: true, after: noTime})
	} else {
		m.rebase(d, at, true)
	}
}

// instant applies the samples of one instant. Each round holds at most one sample of a tag, so that values that change
// together are seen together.
func (m *machine) instant(r *run, at int64, group []pending) {
	splits := m.splits(group)
	if splits {
		m.old = append(m.old[:0], m.frame.Slots...)
	}
	clear(m.touched)
	for i := range group {
		p := &group[i]
		if slices.ContainsFunc(m.uses[p.tag], func(u int) bool { return m.touched[u] }) {
			m.round(r, at)
			clear(m.touched)
		}
		m.apply(p, group[i+1:], r.out)
	}
	m.round(r, at)
	if splits {
		m.split(r, at)
	}
}

// splits says whether samples may change what an interval is split by.
func (m *machine) splits(group []pending) bool {
	for i := range m.p.rules {
		for j := range m.p.rules[i].splits {
			u := &m.p.rules[i].splits[j].use
			for k := range group {
				for _, use := range m.uses[group[k].tag] {
					if n := len(m.p.inputs); use < n && (slices.Contains(u.inputs, use) || slices.Contains(u.asked, use)) || use >= n && slices.Contains(u.contexts, use-n) {
						return true
					}
				}
			}
		}
	}
	return false
}

// apply gives a sample to the inputs and contexts that its tag feeds.
func (m *machine) apply(p *pending, later []pending, out *Effects) {
	for _, use := range m.uses[p.tag] {
		m.touched[use] = true
		if use < len(m.p.inputs) {
			m.take(use, p, out)
		} else {
			m.adopt(use-len(m.p.inputs), p, later)
		}
	}
}

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

// source is the URI reference that events carry.
func (m *machine) source() string { return "/" + m.def.Asset + "/" + m.p.name }

// steps cuts the asset's path into the levels of ISA-95.
func (m *machine) steps() []string { return strings.Split(m.def.Asset, "/") }
