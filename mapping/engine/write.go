package engine

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/internal/nearest"
	"github.com/plantloom/plantloom/mapping/formula"
)

// writeFunc makes the value that is written. A refusal says why there is none; nothing of the group is written then.
type writeFunc func(f *formula.Frame) (*eventv1.Value, *refusal)

// refusal is why a group of writes is not made. It is told like a device's refusal.
type refusal struct{ code, message string }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// assigns lowers write: or ack:.
func (c *compiler) assigns(s *scope, list []Assign) (out []assignDef) {
	seen := map[string]bool{}
	for i := range list {
		a := &list[i]
		o := c.p.outputs[a.Output.Text]
		if o == nil {
			hint := ""
			if c.input(a.Output.Text) >= 0 {
				hint = "an input is not written: declare the tag below outputs:"
			}
			c.fault(place(a.Output, 0), "UNKNOWN_NAME", nearest.Name(a.Output.Text, c.outputNames()), hint, "no output %q", a.Output.Text)
			c.checkNode(s, &a.Value)
			continue
		}
		if seen[o.name] {
			c.fault(place(a.Output, 0), "DUPLICATE_NAME", "", "", "the output %q is written twice", o.name)
		}
		seen[o.name] = true
		if d, ok := c.assign(s, o, &a.Value); ok {
			out = append(out, d)
		}
	}
	return out
}

func (c *compiler) assign(s *scope, o *outputDef, n *Node) (d assignDef, ok bool) {
	d.output = o
	switch {
	case n.Formula != nil:
		e := s.compile(*n.Formula)
		switch {
		case e.Kind == formula.Invalid:
			return d, false
		case o.table != nil:
			if e.Kind != formula.Parameters {
				c.fault(place(*n.Formula, e.Offset), "WRONG_TYPE", "", "write =e.parameters", "the table %q wants parameters, not %s", o.name, e.Kind)
				return d, false
			}
			d.params = e.Params
			return d, true
		}
		d.value = c.writeFormula(o, e, *n.Formula)
		return d, d.value != nil
	case n.Literal != nil && o.table == nil:
		v, why := writeLiteral(o, n.Literal.Text)
		if why == "" {
			if r := o.limits(v); r != nil {
				c.fault(place(n.Literal.Source, 0), "OUT_OF_RANGE", "", "", "%s", r.message)
				return d, false
			}
			// Each command has its own copy: encoding writes into messages, and engines share the program.
			d.value = func(*formula.Frame) (*eventv1.Value, *refusal) { return proto.Clone(v).(*eventv1.Value), nil }
			return d, true
		}
		c.fault(place(n.Literal.Source, 0), "WRONG_TYPE", "", "", "the output %q wants %s, not %q", o.name, why, n.Literal.Text)
		return d, false
	}
	c.fault(n.At, "WRONG_TYPE", "", "", "the output %q wants one value or a formula", o.name)
	return d, false
}

// writeFormula lowers a formula for an output of its type and unit.
func (c *compiler) writeFormula(o *outputDef, e *formula.Expr, src Source) writeFunc {
	converted, err := inUnit(e, o.unit)
	if err != nil {
		c.fault(place(src, e.Offset), "UNIT_DIMENSION", "", "", "the output %q is in %s, and the formula in %s", o.name, o.unit, e.Unit)
		return nil
	}
	e = converted
	fits := false
	switch o.kind {
	case formula.Bool, formula.Text, formula.Time:
		fits = e.Kind == o.kind
	case formula.Int, formula.Uint:
		fits = e.Kind == formula.Int || e.Kind == formula.Uint || e.Kind == formula.Quantity
	case formula.Float:
		fits = e.Kind == formula.Int || e.Kind == formula.Uint || e.Kind == formula.Quantity || e.Kind == formula.Float
	case formula.Invalid:
		return nil
	}
	if !fits {
		hint := ""
		if e.Kind == formula.Float {
			hint = "use round()"
		}
		c.fault(place(src, e.Offset), "WRONG_TYPE", "", hint, "the output %q is %s, and the formula %s", o.name, o.kind, e.Kind)
		return nil
	}
	if e.Kind == formula.Quantity {
		return func(f *formula.Frame) (*eventv1.Value, *refusal) {
			value, code, ok := formula.QuantityOf(e.Message(f))
			if !ok {
				return nil, refuse("MISSING_VALUE", "%s has no value", o.name)
			}
			return o.fromDecimal(value, code)
		}
	}
	get := valueOf(e)
	return func(f *formula.Frame) (*eventv1.Value, *refusal) {
		v := get(f)
		if v == nil {
			return nil, refuse("MISSING_VALUE", "%s has no value", o.name)
		}
		return o.fit(v)
	}
}

// writeLiteral decodes a literal by the output's type; why says what the output wants.
func writeLiteral(o *outputDef, text string) (v *eventv1.Value, why string) {
	switch o.kind {
	case formula.Bool:
		if text != "true" && text != "false" {
			return nil, "true or false"
		}
		return &eventv1.Value{Kind: &eventv1.Value_BoolValue{BoolValue: text == "true"}}, ""
	case formula.Text:
		return &eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: text}}, ""
	case formula.Int, formula.Uint, formula.Float:
		v, r := o.fromDecimal(text, "")
		if r != nil {
			return nil, map[formula.Kind]string{formula.Int: "a whole number", formula.Uint: "a whole number from 0", formula.Float: "a number"}[o.kind]
		}
		return v, ""
	}
	return nil, "a formula"
}

// handshake checks that its names are outputs that fit.
func (c *compiler) handshake(r *Rule) *Handshake {
	h := r.Shake
	if h == nil {
		return nil
	}
	if len(r.Write) == 0 {
		c.fault(r.At, "MISPLACED", "", "add write:", "rule %q has a handshake and writes nothing", r.Name.Text)
	}
	check := func(s *Source, what string, flag bool) {
		if s == nil {
			return
		}
		o := c.p.outputs[s.Text]
		switch {
		case o == nil || o.table != nil:
			c.fault(place(*s, 0), "UNKNOWN_NAME", nearest.Name(s.Text, c.outputNames()), "declare it below outputs:", "no output %q for %s:", s.Text, what)
		case flag && h.Style != "sequence" && o.kind != formula.Bool && o.kind != formula.Invalid:
			c.fault(place(*s, 0), "WRONG_TYPE", "", "", "%s: wants a bool, and %q is %s", what, s.Text, o.kind)
		}
	}
	check(h.Request, "request", true)
	check(h.Ack, "ack", true)
	check(h.Nack, "nack", true)
	check(h.Code, "code", false)
	return h
}
