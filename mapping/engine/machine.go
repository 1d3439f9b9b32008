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

func newMachine(a *asset, p *Program, def *Machine) (*machine, error) {
	m := &machine{
		a: a, p: p, def: *def, identity: def.Asset, uses: map[string][]int{},
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

// source is the URI reference that events carry.
func (m *machine) source() string { return "/" + m.def.Asset + "/" + m.p.name }

// steps cuts the asset's path into the levels of ISA-95.
func (m *machine) steps() []string { return strings.Split(m.def.Asset, "/") }
