package mapping

import (
	"path"
	"regexp"
	"strconv"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/internal/conf/csv"
	"github.com/plantloom/plantloom/mapping/engine"
)

func (p *parser) outputs(n *conf.Node) {
	p.entries(n, func(name engine.Source, n *conf.Node) {
		p.declare(n, append(kinds(), "at"))
		shape := outputShape{Type: "int", ReadBack: true}
		conf.Decode(n, &shape, p.faults)
		if n.Kind() != conf.Map {
			return
		}
		if shape.Table.Exists() {
			p.recipe(name, n, shape.Table)
			return
		}
		for _, key := range []string{"tag", "type"} {
			if !n.Field(key).Exists() {
				p.fault(n.Pos(), conf.CodeMissingKey, quoted(name.Text)+" lacks the key "+quoted(key), conf.Hint("add %s: ..., or table: for a recipe", key))
			}
		}
		if shape.Min != nil && shape.Max != nil && *shape.Min > *shape.Max {
			p.fault(n.Field("min").Pos(), conf.CodeOutOfRange, "min is above max")
		}
		out := engine.Output{
			Name: name, Type: string(shape.Type), Unit: p.text(shape.Unit), Min: shape.Min, Max: shape.Max,
			MaxLen: shape.MaxLen, ReadBack: shape.ReadBack,
		}
		p.m.Spec.Outputs = append(p.m.Spec.Outputs, out)
		p.m.outputs = p.address(p.m.outputs, name.Text, out.Type, shape.Tag)
	})
}

// recipe reads the table of an output: one row per parameter.
func (p *parser) recipe(name engine.Source, n, file *conf.Node) {
	for _, key := range n.Keys() {
		if key != "table" && key != "read_back" {
			p.fault(n.Field(key).Pos(), CodeMisplacedKey, quoted(key)+" stands in the table, one per parameter")
		}
	}
	out := engine.Output{Name: name, ReadBack: true}
	conf.Decode(n.Field("read_back"), &out.ReadBack, p.faults)
	t := p.table(file, csv.Options{Columns: []csv.Column{
		{Name: "parameter", Required: true, Unique: true}, {Name: "tag", Required: true}, {Name: "type", Required: true},
		{Name: "unit"}, {Name: "min"}, {Name: "max"}, {Name: "max_len"}, {Name: "required"},
	}})
	if t == nil {
		p.hollow[name.Text] = true
		return
	}
	for _, row := range t.Rows {
		x := engine.Parameter{Name: row.Text("parameter"), Unit: row.Text("unit"), At: enginePos(row.Pos())}
		x.Type, _ = row.Enum("type", outputType("").Values(), p.faults)
		x.Min, x.Max = p.limit(row, "min"), p.limit(row, "max")
		if length, ok := row.Int("max_len", p.faults); ok {
			x.MaxLen = int(length)
		}
		x.Required, _ = row.Bool("required", p.faults)
		out.Table = append(out.Table, x)
		p.cellAddress(name.Text+"/"+x.Name, x.Type, row.Cell("tag"))
	}
	p.m.Spec.Outputs = append(p.m.Spec.Outputs, out)
}

func (p *parser) limit(row csv.Row, column string) *float64 {
	if v, ok := row.Float(column, p.faults); ok {
		return &v
	}
	return nil
}

// cellAddress reads the tag address of a recipe's row.
func (p *parser) cellAddress(name, kind string, c csv.Cell) {
	at := func(offset int) conf.Pos {
		pos := c.Pos
		pos.Column += len([]rune(c.Text[:min(offset, len(c.Text))]))
		return pos
	}
	if parts, ok := p.split(c.Text, at); ok {
		p.m.outputs = append(p.m.outputs, address{name: name, kind: kind, parts: parts, at: c.Pos})
	}
}

// table reads the CSV file that a node names; nil when there is none.
func (p *parser) table(n *conf.Node, o csv.Options) *csv.Table {
	if n.Kind() != conf.Scalar || n.Broken() {
		p.text(n)
		return nil
	}
	text, ok := p.load.named(n, ".csv")
	if !ok {
		return nil
	}
	return csv.Read(p.load.shown(n.Text()), text, o, p.faults)
}

// looked finds the tables that formulas look up.
var looked = regexp.MustCompile(`\blookup\(\s*([A-Za-z_][A-Za-z0-9_]*)`)

// tables reads the look-up tables that the mapping's formulas name: lookup(rejects, x) reads rejects.csv. A table that
// does not exist is the compiler's to report, at the formula.
func (p *parser) tables() {
	for _, formula := range formulas(p.m.Spec) {
		for _, match := range looked.FindAllStringSubmatch(formula, -1) {
			p.lookupTable(match[1])
		}
	}
}

func (p *parser) lookupTable(name string) {
	if _, done := p.m.Spec.Tables[name]; done {
		return
	}
	text, ok := p.load.read(name + ".csv")
	if !ok {
		return
	}
	t := csv.Read(p.load.shown(name+".csv"), text, csv.Options{Extra: true}, p.faults)
	out := &engine.Table{Name: name, Rows: map[string][]string{}}
	for _, h := range t.Header {
		out.Columns = append(out.Columns, h.Text)
	}
	if len(out.Columns) == 1 {
		p.fault(t.Header[0].Pos, CodeMissingColumn, "a look-up table needs a key column and at least one more")
	}
	first := map[string]int{}
	for _, row := range t.Rows {
		key := row.Cell(out.Columns[0])
		if line, twice := first[key.Text]; twice {
			p.fault(key.Pos, csv.CodeNotUnique, strconv.Quote(key.Text)+" stands twice in column "+quoted(out.Columns[0]), conf.Hint("the first is in line %d", line))
			continue
		}
		first[key.Text] = key.Pos.Line
		cells := make([]string, len(out.Columns))
		for i, column := range out.Columns {
			cells[i] = row.Text(column)
		}
		out.Rows[key.Text] = cells
	}
	p.m.Spec.Tables[name] = out
}

// formulas are the texts of all formulas of a mapping.
func formulas(s *engine.Spec) (out []string) {
	add := func(sources ...*engine.Source) {
		for _, x := range sources {
			if x != nil {
				out = append(out, x.Text)
			}
		}
	}
	var node func(engine.Node)
	node = func(n engine.Node) {
		add(n.Formula)
		for _, f := range n.Fields {
			node(f.Value)
		}
		for _, i := range n.Items {
			node(i)
		}
	}
	lets := func(list []engine.Let) {
		for i := range list {
			add(&list[i].Formula)
		}
	}
	lets(s.Lets)
	for i := range s.Rules {
		r := &s.Rules[i]
		add(r.When, r.If, r.Key)
		for j := range r.Split {
			add(&r.Split[j])
		}
		lets(r.Let)
		for _, f := range r.Set {
			node(f.Value)
		}
		for _, a := range append(append([]engine.Assign(nil), r.Write...), r.Ack...) {
			node(a.Value)
		}
	}
	return out
}

// named reads the file that a node names, which stands in the plant directory itself.
func (l *loader) named(n *conf.Node, suffix string) ([]byte, bool) {
	name := n.Text()
	if name != path.Base(name) || name == "." || name == ".." {
		l.faults.Add(n.ValuePos(), CodeMissingFile, strconv.Quote(name)+" is not a file of this directory", conf.Hint("write the file's name without a directory"))
		return nil, false
	}
	text, ok := l.read(name)
	if !ok {
		l.faults.Add(n.ValuePos(), CodeMissingFile, "there is no file "+strconv.Quote(name), conf.Near(conf.Nearest(name, l.list(suffix))))
	}
	return text, ok
}
