package mapping

import (
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
)

// Test is one test of a mapping file. Package maptest runs it.
type Test struct {
	Name    string
	At      conf.Pos
	Machine engine.Machine // its tags are the mapping's addresses, its source is TestSource
	Start   time.Time      // event time of 0s
	Given   []Step
	Expect  []Expectation
}

// TestSource is the id of the source that the tags of a test come from.
const TestSource = "test"

// Step is one thing that happens in a test.
type Step struct {
	At       time.Duration // event time, from the start of the test
	Arrive   time.Duration // arrival; At when the file does not say
	Late     bool          // the file says when it arrives
	Readings []Reading
	Order    *Order
	Reply    *Reply
	Restart  bool
	Pos      conf.Pos
}

// Reading is a value of an input or a context.
type Reading struct {
	Tag     string
	Value   pipeline.Value
	Quality pipeline.Quality
}

// Order is an operation that the dispatcher routes to the machine, or withdraws from it.
type Order struct {
	OrderID    string
	Operation  string
	Material   string
	Quantity   string // decimal text
	Unit       string
	Withdrawn  bool
	Parameters []Parameter
}

// Parameter is a recipe value of an Order.
type Parameter struct {
	ID, Value, Unit string
	Text            bool // the file has it in quotes
}

// Reply is a PLC's answer to the oldest write of a rule that has none.
type Reply struct {
	Rule    string // empty: of any rule
	Outcome string // DONE, REFUSED, ...
	Code    string
}

// Expectation is an event, a write, an acknowledgement or a dead letter that a test expects.
type Expectation struct {
	At     time.Duration
	Kind   string // event, write, ack or dead
	Rule   string
	Fields []ExpectedField
	Pos    conf.Pos
}

// ExpectedField is one field of an expected event, or one output of an expected write.
type ExpectedField struct {
	Path string
	Want *conf.Node // a null: the field is absent
}

type testShape struct {
	Name    *conf.Node   `conf:"name,required"`
	Machine *conf.Node   `conf:"machine"`
	Start   time.Time    `conf:"start"`
	Given   []*conf.Node `conf:"given,required"`
	Expect  []*conf.Node `conf:"expect,required"`
}

func (testShape) LaterKeys() map[string]string { return laterOfTest() }

// testStart is a Monday 06:00 UTC, so that intervals of an hour and less begin where a test begins.
func testStart() time.Time { return time.Date(2026, time.March, 2, 6, 0, 0, 0, time.UTC) }

func (p *parser) tests(n *conf.Node) {
	if !n.Exists() {
		return
	}
	var items []*conf.Node
	conf.Decode(n, &items, p.faults)
	first := map[string]conf.Pos{}
	for _, item := range items {
		if !p.isMap(item) {
			continue
		}
		shape := testShape{Start: testStart()}
		conf.Decode(item, &shape, p.faults)
		t := Test{Name: shape.Name.Text(), At: item.Pos(), Start: shape.Start.UTC(), Machine: p.testMachine(shape.Machine)}
		if was, twice := first[t.Name]; twice {
			p.fault(shape.Name.ValuePos(), CodeDuplicateName, "a second test is named "+quoted(t.Name), conf.Hint("the first is in line %d", was.Line))
		}
		first[t.Name] = shape.Name.ValuePos()
		for _, step := range shape.Given {
			if p.isMap(step) {
				t.Given = append(t.Given, p.step(step, &t.Machine))
			}
		}
		for _, want := range shape.Expect {
			if p.isMap(want) {
				t.Expect = append(t.Expect, p.expectation(want))
			}
		}
		p.m.Tests = append(p.m.Tests, t)
	}
}

// testMachine binds the mapping to the columns of a test.
func (p *parser) testMachine(n *conf.Node) engine.Machine {
	columns := map[string]pipeline.Value{"name": pipeline.Text("M1"), "asset": pipeline.Text("test/site/area/M1")}
	if p.isMap(n) {
		for _, key := range n.Keys() {
			value := n.Field(key)
			kind, ok := p.columnType(key)
			if !ok {
				p.fault(value.Pos(), CodeUnknownColumn, "no column "+quoted(key)+" in machine:", conf.Near(conf.Nearest(key, p.columnNames())))
				continue
			}
			columns[key] = p.testValue(value, kind)
		}
	}
	for _, c := range p.m.Spec.Columns {
		if _, ok := columns[c.Name.Text]; !ok {
			columns[c.Name.Text] = pipeline.Null()
			if n.Exists() && n.Kind() == conf.Map {
				p.fault(n.Pos(), conf.CodeMissingKey, `"machine" lacks the column `+quoted(c.Name.Text), conf.Hint("add %s: ...", c.Name.Text))
			}
		}
	}
	m := engine.Machine{
		Name: columns["name"].AsText(), Asset: columns["asset"].AsText(), Columns: columns,
		Inputs: map[string]string{}, Outputs: map[string]engine.Target{}, Sources: []string{TestSource},
	}
	for _, a := range p.m.inputs {
		m.Inputs[a.name] = a.tag(columns)
	}
	for _, a := range p.m.outputs {
		m.Outputs[a.name] = engine.Target{Tag: a.tag(columns), Source: TestSource}
	}
	return m
}

func (p *parser) columnType(name string) (kind string, ok bool) {
	if name == "name" || name == "asset" {
		return "text", true
	}
	for _, c := range p.m.Spec.Columns {
		if c.Name.Text == name {
			return c.Type, true
		}
	}
	return "", false
}

// testValue reads a scalar by its declared type.
func (p *parser) testValue(n *conf.Node, kind string) pipeline.Value {
	switch kind {
	case "bool":
		var v bool
		conf.Decode(n, &v, p.faults)
		return pipeline.Bool(v)
	case "int":
		var v int64
		conf.Decode(n, &v, p.faults)
		return pipeline.Int(v)
	case "uint":
		var v uint64
		conf.Decode(n, &v, p.faults)
		return pipeline.Uint(v)
	case "float":
		var v float64
		conf.Decode(n, &v, p.faults)
		return pipeline.Double(v)
	case "time":
		var v time.Time
		conf.Decode(n, &v, p.faults)
		return pipeline.Time(v)
	}
	var v string
	conf.Decode(n, &v, p.faults)
	return pipeline.Text(v)
}

// tag is the address for a machine's columns.
func (a address) tag(columns map[string]pipeline.Value) string {
	var b strings.Builder
	for _, x := range a.parts {
		if x.column {
			b.WriteString(columns[x.text].String())
		} else {
			b.WriteString(x.text)
		}
	}
	return b.String()
}

// message finds an event message by its short name.
func message(name string) protoreflect.MessageDescriptor {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("plantloom.event.v1." + name))
	if err != nil {
		return nil
	}
	return t.Descriptor()
}
