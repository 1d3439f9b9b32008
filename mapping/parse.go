package mapping

import (
	"path"
	"slices"
	"strings"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
)

const mapSuffix = ".map.yaml"

// Mapping is one mapping file, read and compiled.
type Mapping struct {
	Name    string // the file's name without .map.yaml
	File    string // as faults show it
	Spec    *engine.Spec
	Program *engine.Program // nil when the file has a fault
	Tests   []Test

	inputs  []address // inputs and contexts, in the order of the file
	outputs []address
	used    bool // a plant file stamps it out
}

// address is the tag of an input, a context or an output as the file gives it, with ${column} in it.
type address struct {
	name  string // input or context; output, or output + "/" + parameter
	kind  string // the declared type
	parts []part
	at    conf.Pos
}

// part is literal text or the name of a column.
type part struct {
	text   string
	column bool
}

// parser reads one mapping file. It goes on after faults: what they touched is left out or replaced, and noted so that
// the compiler's complaints about it are dropped.
type parser struct {
	load   *loader
	faults *conf.Faults
	m      *Mapping
	broken []span          // values with a fault
	hollow map[string]bool // names whose declaration has a fault
	names  map[string]conf.Pos
}

func (p *parser) fault(at conf.Pos, code, message string, options ...conf.Option) {
	p.faults.Add(at, code, message, options...)
}

// parseMapping reads the text of a mapping file. name is its path in the plant directory.
func (l *loader) parseMapping(name string, text []byte) *Mapping {
	m := &Mapping{Name: strings.TrimSuffix(path.Base(name), mapSuffix), File: l.shown(name)}
	m.Spec = &engine.Spec{Name: m.Name, Tables: map[string]*engine.Table{}}
	p := &parser{load: l, faults: l.faults, m: m, hollow: map[string]bool{}, names: map[string]conf.Pos{}}
	before := errorsIn(l.faults)
	file := conf.Parse(m.File, text, l.faults)
	var shape fileShape
	conf.Decode(file.Root, &shape, l.faults)
	p.columns(shape.Machine)
	p.inputs(shape.Inputs)
	p.contexts(shape.Context)
	p.outputs(shape.Outputs)
	m.Spec.Lets = p.lets(shape.Let, true)
	p.rules(shape.Rules)
	p.tables()
	p.compile(before)
	p.tests(shape.Tests)
	return m
}

func errorsIn(f *conf.Faults) int {
	n := 0
	for _, x := range f.All() {
		if x.Severity == conf.SeverityError {
			n++
		}
	}
	return n
}

// entries calls read for each entry of a map, and notes the names whose entry has a fault.
func (p *parser) entries(n *conf.Node, read func(name engine.Source, n *conf.Node)) {
	if !p.isMap(n) {
		return
	}
	for _, key := range n.Keys() {
		value := n.Field(key)
		before := p.faults.Len()
		read(keySource(value), value)
		if p.faults.Len() > before || value.Broken() {
			p.hollow[key] = true
		}
	}
}

// isMap reports a value that is there and not a map.
func (p *parser) isMap(n *conf.Node) bool {
	if !n.Exists() || n.Broken() {
		return false
	}
	if n.Kind() != conf.Map {
		var nodes map[string]*conf.Node
		conf.Decode(n, &nodes, p.faults) // says what stands there instead
		return false
	}
	return true
}

// declare checks a name that formulas use, that it is new, and that it is none of the words that stand beside it.
func (p *parser) declare(n *conf.Node, words []string) {
	name := n.Name()
	switch first, twice := p.names[name]; {
	case !identifier.MatchString(name):
		p.fault(n.Pos(), CodeBadName, quoted(name)+" is not a name that formulas can use", conf.Hint("letters, digits and _, a letter first"))
	case slices.Contains(reservedNames(), name) || slices.Contains(words, name):
		p.fault(n.Pos(), CodeBadName, quoted(name)+" is a word of the language", conf.Hint("choose another name"))
	case twice:
		p.fault(n.Pos(), CodeDuplicateName, quoted(name)+" is declared twice", conf.Hint("the first is in line %d", first.Line))
	default:
		p.names[name] = n.Pos()
	}
}

func (p *parser) columns(n *conf.Node) {
	p.entries(n, func(name engine.Source, n *conf.Node) {
		kind := columnType("text")
		conf.Decode(n, &kind, p.faults)
		p.m.Spec.Columns = append(p.m.Spec.Columns, engine.Column{Name: name, Type: string(kind)})
	})
}

func (p *parser) hasColumn(name string) bool {
	return name == "name" || name == "asset" || slices.ContainsFunc(p.m.Spec.Columns, func(c engine.Column) bool { return c.Name.Text == name })
}

func (p *parser) columnNames() []string {
	names := []string{"name", "asset"}
	for _, c := range p.m.Spec.Columns {
		names = append(names, c.Name.Text)
	}
	return names
}

func (p *parser) inputs(n *conf.Node) {
	p.entries(n, func(name engine.Source, n *conf.Node) {
		p.declare(n, stepNames())
		shape := inputShape{Type: "int", Bad: "hold"}
		conf.Decode(n, &shape, p.faults)
		in := engine.Input{
			Name: name, Type: string(shape.Type), MaxRate: float64(shape.MaxRate), Unit: p.text(shape.Unit),
			Bad: shape.Bad.engine(), MaxAge: shape.MaxAge,
		}
		if c := shape.Counter; c != nil {
			in.Counter = p.counter(n.Field("counter"), c)
		}
		p.m.Spec.Inputs = append(p.m.Spec.Inputs, in)
		p.m.inputs = p.address(p.m.inputs, name.Text, in.Type, shape.Tag)
	})
}

func (p *parser) counter(n *conf.Node, c *counterShape) *engine.Counter {
	if c.Max <= c.Min && !n.Broken() {
		p.fault(n.Pos(), conf.CodeOutOfRange, "the counter's max is not above its min")
	}
	out := &engine.Counter{
		Min: c.Min, Max: c.Max, Resets: c.Resets.engine(), MaxGap: c.MaxGap, Slack: c.Slack, Ambiguous: string(c.Ambiguous),
	}
	if !n.Field("max_gap").Exists() {
		out.MaxGap = defaultMaxGap
	}
	if !n.Field("slack").Exists() {
		out.Slack = defaultSlack
	}
	if out.Ambiguous == "" {
		out.Ambiguous = "smaller"
	}
	return out
}

func (p *parser) contexts(n *conf.Node) {
	p.entries(n, func(name engine.Source, n *conf.Node) {
		p.declare(n, stepNames())
		shape := contextShape{Type: "text"}
		conf.Decode(n, &shape, p.faults)
		p.m.Spec.Contexts = append(p.m.Spec.Contexts, engine.Context{Name: name, Type: string(shape.Type), MinStable: shape.MinStable})
		p.m.inputs = p.address(p.m.inputs, name.Text, string(shape.Type), shape.Tag)
	})
}

func (p *parser) lets(n *conf.Node, global bool) (out []engine.Let) {
	p.entries(n, func(name engine.Source, n *conf.Node) {
		if global {
			p.declare(n, nil)
		}
		if f := p.formula(n, false); f != nil {
			out = append(out, engine.Let{Name: name, Formula: *f})
		}
	})
	return out
}

// text reads an optional scalar as it is written.
func (p *parser) text(n *conf.Node) engine.Source {
	if n.Kind() != conf.Scalar || n.Broken() {
		var s string
		conf.Decode(n, &s, p.faults)
		return engine.Source{At: func(int) engine.Pos { return enginePos(n.ValuePos()) }}
	}
	return sourceOf(n, 0)
}

// name reads an optional scalar that names something.
func (p *parser) name(n *conf.Node) *engine.Source {
	if !n.Exists() {
		return nil
	}
	s := p.text(n)
	return &s
}

// address reads a tag address with its ${column}s and appends it.
func (p *parser) address(list []address, name, kind string, n *conf.Node) []address {
	if n.Kind() != conf.Scalar || n.Broken() {
		p.text(n)
		return list
	}
	a := address{name: name, kind: kind, at: n.ValuePos()}
	parts, ok := p.split(n.Text(), n.ScalarPos)
	if !ok {
		return list
	}
	a.parts = parts
	return append(list, a)
}

// split cuts an address into text and columns.
func (p *parser) split(text string, at func(int) conf.Pos) (parts []part, ok bool) {
	ok = true
	for offset := 0; offset < len(text); {
		i := strings.Index(text[offset:], "${")
		if i < 0 {
			return append(parts, part{text: text[offset:]}), ok
		}
		if i > 0 {
			parts = append(parts, part{text: text[offset : offset+i]})
		}
		begin := offset + i + len("${")
		end := strings.IndexByte(text[begin:], '}')
		if end < 0 {
			p.fault(at(begin-2), conf.CodeSyntax, `"${" is not closed`, conf.Hint("write ${column}"))
			return nil, false
		}
		column := text[begin : begin+end]
		if !p.hasColumn(column) {
			ok = false
			if !p.hollow[column] {
				p.fault(at(begin), CodeUnknownColumn, "no column "+quoted(column)+" in machine:",
					conf.Near(conf.Nearest(column, p.columnNames())), conf.Hint("declare it: machine: {%s: text}", column))
			}
		}
		parts = append(parts, part{text: column, column: true})
		offset = begin + end + 1
	}
	return parts, ok
}
