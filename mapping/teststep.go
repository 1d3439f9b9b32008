package mapping

import (
	"fmt"
	"strconv"
	"time"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"

	_ "github.com/plantloom/plantloom/gen/plantloom/event/v1" // the messages that rules emit, by name
)

type orderShape struct {
	OrderID    string     `conf:"order_id,required"`
	Operation  string     `conf:"operation_id"`
	Material   string     `conf:"material_id"`
	Quantity   string     `conf:"planned_quantity"`
	Unit       string     `conf:"unit_code"`
	Withdrawn  bool       `conf:"withdrawn"`
	Parameters *conf.Node `conf:"parameters"`
}

type replyShape struct {
	Rule    *conf.Node `conf:"rule"`
	Outcome outcome    `conf:"outcome,required"`
	Code    string     `conf:"code"`
}

type outcome string

func (outcome) Values() []string {
	return []string{"DONE", "REFUSED", "MISMATCH", "TIMEOUT", "EXPIRED", "UNKNOWN"}
}

func (p *parser) step(n *conf.Node, m *engine.Machine) Step {
	s := Step{Pos: n.Pos()}
	s.At = p.offset(n, "the step")
	s.Arrive = s.At
	for _, key := range n.Keys() {
		value := n.Field(key)
		switch {
		case key == "at":
		case key == "arrive":
			s.Late = true
			p.offsetAt(value, &s.Arrive)
		case key == "order" && value.Field("order_id").Exists():
			s.Order = p.order(value)
		case key == "reply":
			s.Reply = p.reply(value)
		case key == "restart":
			conf.Decode(value, &s.Restart, p.faults)
		default:
			p.reading(&s, key, value, m)
		}
	}
	return s
}

// maxTest bounds the time that a test plays.
const maxTest = 40 * 24 * time.Hour

// offset reads at: of a step or an expectation.
func (p *parser) offset(n *conf.Node, what string) (d time.Duration) {
	at := n.Field("at")
	if !at.Exists() {
		p.fault(n.Pos(), conf.CodeMissingKey, what+` lacks the key "at"`, conf.Hint("add at: 0s"))
	}
	p.offsetAt(at, &d)
	return d
}

func (p *parser) offsetAt(n *conf.Node, d *time.Duration) {
	conf.Decode(n, d, p.faults)
	if *d < 0 || *d > maxTest {
		p.fault(n.ValuePos(), conf.CodeOutOfRange, fmt.Sprintf("%q is out of range", n.Text()), conf.Hint("a test plays from 0s to %dd", maxTest/(24*time.Hour)))
		*d = 0
	}
}

func (p *parser) reading(s *Step, key string, value *conf.Node, m *engine.Machine) {
	kind, ok := p.inputType(key)
	if !ok {
		if what, later := laterOfStep()[key]; later {
			p.fault(value.Pos(), conf.CodeLaterKey, quoted(key)+" is a later feature: "+what)
			return
		}
		if p.hollow[key] {
			return
		}
		p.fault(value.Pos(), CodeUnknownName, "no input or context "+quoted(key), conf.Near(conf.Nearest(key, p.inputNames())),
			conf.Hint("beside inputs, a step has at, arrive, order, reply and restart"))
		return
	}
	r := Reading{Tag: m.Inputs[key]}
	switch {
	case value.Kind() == conf.Map:
		r.Value, r.Quality = p.qualified(value, kind)
	case isBad(value):
		r.Quality = pipeline.Bad
	default:
		r.Value = p.testValue(value, kind)
	}
	s.Readings = append(s.Readings, r)
}

// isBad says whether a value is the word bad without quotes.
func isBad(n *conf.Node) bool {
	return n.Kind() == conf.Scalar && n.Text() == "bad" && !n.IsQuoted() && !n.IsBlock()
}

func (p *parser) qualified(n *conf.Node, kind string) (v pipeline.Value, q pipeline.Quality) {
	conf.KnownKeys(n, p.faults, []string{"value", "status"}, nil)
	if value := n.Field("value"); value.Exists() && value.Kind() != conf.Null {
		v = p.testValue(value, kind)
	}
	status := n.Field("status")
	if !status.Exists() {
		return v, q
	}
	var text string
	conf.Decode(status, &text, p.faults)
	if code, err := strconv.ParseUint(text, 0, 32); err == nil {
		return v, pipeline.Quality(code)
	}
	var names []string
	for _, code := range statusCodes() {
		if code.String() == text {
			return v, code
		}
		names = append(names, code.String())
	}
	p.fault(status.ValuePos(), conf.CodeUnknownValue, quoted(text)+" is not a status code that tests know", conf.Near(conf.Nearest(text, names)),
		conf.Hint("write its number, such as 0x808C0000"))
	return v, q
}

func statusCodes() []pipeline.Quality {
	return []pipeline.Quality{
		pipeline.Good, pipeline.GoodNoData, pipeline.GoodLocalOverride, pipeline.Uncertain, pipeline.UncertainLastUsable,
		pipeline.UncertainSubstitute, pipeline.UncertainInitial, pipeline.UncertainSubNormal, pipeline.UncertainDataSubNormal,
		pipeline.Bad, pipeline.BadCommunicationError, pipeline.BadTimeout, pipeline.BadNoCommunication,
		pipeline.BadWaitingForInitialData, pipeline.BadNodeIDUnknown, pipeline.BadOutOfRange, pipeline.BadConfigurationError,
		pipeline.BadNotConnected, pipeline.BadDeviceFailure, pipeline.BadSensorFailure, pipeline.BadOutOfService, pipeline.BadDataLost,
	}
}

func (p *parser) inputType(name string) (kind string, ok bool) {
	for _, a := range p.m.inputs {
		if a.name == name {
			return a.kind, true
		}
	}
	return "", false
}

func (p *parser) inputNames() (names []string) {
	for _, a := range p.m.inputs {
		names = append(names, a.name)
	}
	return names
}

func (p *parser) order(n *conf.Node) *Order {
	shape := orderShape{Operation: "0010", Quantity: "1", Unit: "C62"}
	conf.Decode(n, &shape, p.faults)
	o := &Order{
		OrderID: shape.OrderID, Operation: shape.Operation, Material: shape.Material, Quantity: shape.Quantity,
		Unit: shape.Unit, Withdrawn: shape.Withdrawn,
	}
	if !p.isMap(shape.Parameters) {
		return o
	}
	for _, id := range shape.Parameters.Keys() {
		value := shape.Parameters.Field(id)
		x := Parameter{ID: id, Text: value.IsQuoted()}
		if value.Kind() == conf.Map {
			conf.KnownKeys(value, p.faults, []string{"value", "unit"}, nil)
			conf.Decode(value.Field("unit"), &x.Unit, p.faults)
			value = value.Field("value")
			x.Text = value.IsQuoted()
		}
		conf.Decode(value, &x.Value, p.faults)
		o.Parameters = append(o.Parameters, x)
	}
	return o
}

func (p *parser) reply(n *conf.Node) *Reply {
	var shape replyShape
	conf.Decode(n, &shape, p.faults)
	if shape.Rule.Exists() {
		p.ruleNamed(shape.Rule)
	}
	return &Reply{Rule: shape.Rule.Text(), Outcome: string(shape.Outcome), Code: shape.Code}
}

// Duration is how long the steps of a test take.
func (t *Test) Duration() (end time.Duration) {
	for _, s := range t.Given {
		end = max(end, s.At, s.Arrive)
	}
	return end
}
