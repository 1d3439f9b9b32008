package engine

import (
	"fmt"
	"slices"

	"github.com/plantloom/plantloom/internal/nearest"
	"github.com/plantloom/plantloom/internal/unit"
	"github.com/plantloom/plantloom/mapping/formula"
)

// compiler checks one mapping. It goes on after faults, so that one pass reports them all.
type compiler struct {
	spec   *Spec
	p      *Program
	faults []Fault
	tables map[string]*formula.Table
	read   map[string]bool // inputs that a formula reads
	shared map[string]bool // global lets without a fault
}

// Compile checks a mapping and lowers it. All faults are returned, errors and warnings; the program is nil when there
// is an error. Warnings come only with a program: a misspelt name makes the right one look unused.
func Compile(s *Spec) (*Program, []Fault) {
	c := &compiler{
		spec: s, tables: map[string]*formula.Table{}, read: map[string]bool{}, shared: map[string]bool{},
		p: &Program{name: s.Name, outputs: map[string]*outputDef{}, slots: fixedSlots, order: -1},
	}
	for name, t := range s.Tables {
		c.tables[name] = &formula.Table{Columns: t.Columns, Rows: t.Rows}
	}
	c.columns()
	c.inputs()
	c.contexts()
	c.outputs()
	c.names()
	c.lets()
	for i := range s.Rules {
		c.p.rules = append(c.p.rules, c.rule(i, &s.Rules[i]))
	}
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	c.warnings()
	return c.p, c.faults
}

func (c *compiler) fault(at Pos, code, near, hint, format string, args ...any) {
	c.faults = append(c.faults, Fault{Code: code, Message: fmt.Sprintf(format, args...), Near: near, Hint: hint, At: at})
}

func (c *compiler) warn(at Pos, code, hint, format string, args ...any) {
	c.faults = append(c.faults, Fault{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, At: at, Warning: true})
}

// place returns the place of a byte of a source; a source without places has none.
func place(s Source, offset int) Pos {
	if s.At == nil {
		return Pos{}
	}
	return s.At(min(max(offset, 0), len(s.Text)))
}

// kind reads a type's name.
func (c *compiler) kind(name Source, text string) formula.Kind {
	k := formula.KindOf(text)
	if k == formula.Invalid {
		c.fault(place(name, 0), "WRONG_TYPE", nearest.Name(text, []string{"bool", "int", "uint", "float", "text", "time"}),
			"there are bool, int, uint, float, text and time", "%q has an unknown type %q", name.Text, text)
	}
	return k
}

func (c *compiler) unit(s Source) *unit.Unit {
	if s.Text == "" {
		return nil
	}
	return c.unitAt(place(s, 0), s.Text)
}

func (c *compiler) unitAt(at Pos, text string) *unit.Unit {
	u, fault := formula.ReadUnit(text)
	if fault != nil {
		c.fault(at, fault.Code, fault.Near, fault.Hint, "%s", fault.Message)
	}
	return u
}

func (c *compiler) slot(n int) int {
	s := c.p.slots
	c.p.slots += n
	return s
}

func (c *compiler) columns() {
	add := func(name string, k formula.Kind) {
		c.p.columns = append(c.p.columns, columnDef{name: name, kind: k, slot: c.slot(1)})
	}
	add("name", formula.Text)
	add("asset", formula.Text)
	for _, col := range c.spec.Columns {
		if col.Name.Text != "name" && col.Name.Text != "asset" {
			add(col.Name.Text, c.kind(col.Name, col.Type))
		}
	}
}

func (c *compiler) inputs() {
	for _, in := range c.spec.Inputs {
		d := inputDef{
			name: in.Name.Text, kind: c.kind(in.Name, in.Type), unit: c.unit(in.Unit), counter: in.Counter,
			maxRate: in.MaxRate, bad: in.Bad, maxAge: in.MaxAge.Nanoseconds(), slot: c.slot(slotsPerInput),
		}
		if d.counter != nil && d.kind != formula.Int && d.kind != formula.Uint && d.kind != formula.Invalid {
			c.fault(place(in.Name, 0), "WRONG_TYPE", "", "a totaliser of type float needs no counter:", "the counter %q is %s and not an int", d.name, d.kind)
		}
		if d.counter != nil && d.counter.Max <= d.counter.Min {
			c.fault(place(in.Name, 0), "OUT_OF_RANGE", "", "", "the counter %q has a max that is not above its min", d.name)
		}
		c.p.inputs = append(c.p.inputs, d)
	}
}

func (c *compiler) contexts() {
	for i, x := range c.spec.Contexts {
		d := contextDef{name: x.Name.Text, kind: c.kind(x.Name, x.Type), minStable: x.MinStable.Nanoseconds(), slot: c.slot(1)}
		c.p.context = append(c.p.context, d)
		c.p.lag = max(c.p.lag, d.minStable)
		if d.name == "order" && d.kind == formula.Text {
			c.p.order = i
		}
	}
}

func (c *compiler) outputs() {
	for _, o := range c.spec.Outputs {
		d := &outputDef{name: o.Name.Text, readBack: o.ReadBack}
		if o.Table == nil {
			d.kind, d.unit = c.kind(o.Name, o.Type), c.unit(o.Unit)
			d.min, d.max, d.maxLen, d.required = o.Min, o.Max, o.MaxLen, o.Required
		}
		for _, row := range o.Table {
			d.table = append(d.table, c.parameter(o, row))
		}
		c.p.outputs[d.name] = d
	}
}

func (c *compiler) parameter(o Output, row Parameter) *outputDef {
	d := &outputDef{
		name: row.Name, kind: formula.KindOf(row.Type), min: row.Min, max: row.Max, maxLen: row.MaxLen,
		readBack: o.ReadBack, required: row.Required,
	}
	if d.kind == formula.Invalid && row.Type != "" { // the reader of the table reports an empty type
		c.fault(row.At, "WRONG_TYPE", nearest.Name(row.Type, []string{"bool", "int", "uint", "float", "text"}), "", "parameter %q has an unknown type %q", row.Name, row.Type)
	}
	if row.Unit != "" {
		d.unit = c.unitAt(row.At, row.Unit)
	}
	return d
}

// names reports names that stand for two things.
func (c *compiler) names() {
	seen := map[string]bool{}
	check := func(s Source, what string) {
		if seen[s.Text] {
			c.fault(place(s, 0), "DUPLICATE_NAME", "", "", "%s %q: the name is taken", what, s.Text)
		}
		seen[s.Text] = true
	}
	for _, x := range c.spec.Inputs {
		check(x.Name, "input")
	}
	for _, x := range c.spec.Contexts {
		check(x.Name, "context")
	}
	for _, x := range c.spec.Lets {
		check(x.Name, "let")
	}
	rules := map[string]bool{}
	for _, r := range c.spec.Rules {
		if rules[r.Name.Text] {
			c.fault(place(r.Name, 0), "DUPLICATE_NAME", "", "the name stands in event ids", "a second rule is named %q", r.Name.Text)
		}
		rules[r.Name.Text] = true
	}
}

// lets checks the lets of the whole mapping once; rules that use them lower them for themselves.
func (c *compiler) lets() {
	for i, l := range c.spec.Lets {
		s := &scope{c: c, all: true, lets: c.spec.Lets[:i], memo: map[int]*formula.Expr{}, told: map[string]bool{}}
		for _, earlier := range c.spec.Lets[:i] {
			s.told[earlier.Name.Text] = true
		}
		before := len(c.faults)
		s.compile(l.Formula)
		c.shared[l.Name.Text] = len(c.faults) == before
	}
}

func (c *compiler) inputNames() (names []string) {
	for _, d := range c.p.inputs {
		names = append(names, d.name)
	}
	return names
}

func (c *compiler) outputNames() (names []string) {
	for _, o := range c.spec.Outputs {
		names = append(names, o.Name.Text)
	}
	return names
}

func (c *compiler) input(name string) int {
	return slices.IndexFunc(c.p.inputs, func(d inputDef) bool { return d.name == name })
}

func (c *compiler) warnings() {
	for i, in := range c.spec.Inputs {
		if !c.read[in.Name.Text] {
			c.warn(place(in.Name, 0), "UNUSED_INPUT", "remove it, or use it", "no rule uses the input %q", in.Name.Text)
		}
		if d := c.p.inputs[i]; d.counter != nil && d.maxRate == 0 {
			c.warn(place(in.Name, 0), "MISSING_MAX_RATE", "add max_rate: so that a roll-over is told from a wrong value", "the counter %q has no max_rate", in.Name.Text)
		}
	}
}
