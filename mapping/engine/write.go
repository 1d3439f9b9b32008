package engine

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
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
			c.fault(place(a.Output, 0), "UNKNOWN_NAME", formula.Nearest(a.Output.Text, c.outputNames()), hint, "no output %q", a.Output.Text)
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
			d.value = func(*formula.Frame) (*eventv1.Value, *refusal) { return v, nil }
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
	if o.unit != nil && e.Unit != nil {
		if !e.Unit.Like(o.unit) {
			c.fault(place(src, e.Offset), "UNIT_DIMENSION", "", "", "the output %q is in %s, and the formula in %s", o.name, o.unit.Name, e.Unit.Name)
			return nil
		}
		if !e.Unit.Same(o.unit) {
			e = formula.ConvertTo(e, o.unit)
		}
	}
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
			value, unit, ok := formula.QuantityOf(e.Message(f))
			if !ok {
				return nil, refuse("MISSING_VALUE", "%s has no value", o.name)
			}
			return o.fromDecimal(value, unit)
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

// fit brings a value to the output's type and checks it.
func (o *outputDef) fit(v *eventv1.Value) (*eventv1.Value, *refusal) {
	var out *eventv1.Value
	switch k := v.GetKind().(type) {
	case *eventv1.Value_DecimalValue:
		if o.kind == formula.Text {
			return o.checked(&eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: k.DecimalValue}})
		}
		return o.fromDecimal(k.DecimalValue, "")
	case *eventv1.Value_IntValue:
		return o.fromInteger(big.NewInt(k.IntValue))
	case *eventv1.Value_UintValue:
		return o.fromInteger(new(big.Int).SetUint64(k.UintValue))
	case *eventv1.Value_DoubleValue:
		x := k.DoubleValue
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, refuse("OUT_OF_RANGE", "%s: %v is not a number", o.name, x)
		}
		if o.kind == formula.Float {
			out = v
		} else if (o.kind == formula.Int || o.kind == formula.Uint) && x == math.Trunc(x) {
			i, _ := big.NewFloat(x).Int(nil)
			return o.fromInteger(i)
		}
	case *eventv1.Value_BoolValue:
		if o.kind == formula.Bool {
			out = v
		}
	case *eventv1.Value_StringValue:
		switch o.kind {
		case formula.Text:
			out = v
		case formula.Int, formula.Uint, formula.Float:
			return o.fromDecimal(k.StringValue, "")
		case formula.Bool:
			if k.StringValue == "true" || k.StringValue == "false" {
				out = &eventv1.Value{Kind: &eventv1.Value_BoolValue{BoolValue: k.StringValue == "true"}}
			}
		}
	case *eventv1.Value_TimeValue:
		if o.kind == formula.Time {
			out = v
		}
	}
	if out == nil {
		return nil, refuse("WRONG_TYPE", "%s is %s, and the value is %s", o.name, o.kind, show(v))
	}
	return o.checked(out)
}

// fromDecimal reads decimal text in a unit, exactly where the output is whole.
func (o *outputDef) fromDecimal(text, unit string) (*eventv1.Value, *refusal) {
	r, ok := formula.ParseDecimal(text)
	if !ok {
		return nil, refuse("WRONG_TYPE", "%s: %q is not a number", o.name, text)
	}
	x, _ := r.Float64()
	if unit != "" && o.unit != nil {
		from, err := formula.ParseUnit(unit)
		if err != nil || !from.Like(o.unit) {
			return nil, refuse("WRONG_UNIT", "%s is in %s, and the value in %q", o.name, o.unit.Name, unit)
		}
		if !from.Same(o.unit) {
			x = from.Convert(x, o.unit)
			if o.kind != formula.Float {
				if r = new(big.Rat).SetFloat64(x); r == nil {
					return nil, refuse("OUT_OF_RANGE", "%s: %s %s does not fit", o.name, text, unit)
				}
			}
		}
	}
	switch o.kind {
	case formula.Float:
		return o.checked(&eventv1.Value{Kind: &eventv1.Value_DoubleValue{DoubleValue: x}})
	case formula.Text:
		return o.checked(&eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: text}})
	case formula.Int, formula.Uint:
		if !r.IsInt() {
			return nil, refuse("WRONG_TYPE", "%s is a whole number, and the value is %s", o.name, text)
		}
		return o.fromInteger(r.Num())
	}
	return nil, refuse("WRONG_TYPE", "%s is %s, and the value is %s", o.name, o.kind, text)
}

func (o *outputDef) fromInteger(i *big.Int) (*eventv1.Value, *refusal) {
	switch {
	case o.kind == formula.Int && i.IsInt64():
		return o.checked(&eventv1.Value{Kind: &eventv1.Value_IntValue{IntValue: i.Int64()}})
	case o.kind == formula.Uint && i.IsUint64():
		return o.checked(&eventv1.Value{Kind: &eventv1.Value_UintValue{UintValue: i.Uint64()}})
	case o.kind == formula.Float:
		x, _ := new(big.Float).SetInt(i).Float64()
		return o.checked(&eventv1.Value{Kind: &eventv1.Value_DoubleValue{DoubleValue: x}})
	case o.kind == formula.Text:
		return o.checked(&eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: i.String()}})
	case o.kind == formula.Int, o.kind == formula.Uint:
		return nil, refuse("OUT_OF_RANGE", "%s: %s does not fit into %s", o.name, i, o.kind)
	}
	return nil, refuse("WRONG_TYPE", "%s is %s, and the value is %s", o.name, o.kind, i)
}

func (o *outputDef) checked(v *eventv1.Value) (*eventv1.Value, *refusal) {
	if r := o.limits(v); r != nil {
		return nil, r
	}
	return v, nil
}

// limits checks min, max and max_len.
func (o *outputDef) limits(v *eventv1.Value) *refusal {
	var x float64
	switch k := v.GetKind().(type) {
	case *eventv1.Value_IntValue:
		x = float64(k.IntValue)
	case *eventv1.Value_UintValue:
		x = float64(k.UintValue)
	case *eventv1.Value_DoubleValue:
		x = k.DoubleValue
	case *eventv1.Value_StringValue:
		if n := utf8.RuneCountInString(k.StringValue); o.maxLen > 0 && n > o.maxLen {
			return refuse("TOO_LONG", "%s: %q has %d characters, and %d fit", o.name, k.StringValue, n, o.maxLen)
		}
		return nil
	default:
		return nil
	}
	if o.min != nil && x < *o.min {
		return refuse("OUT_OF_RANGE", "%s: %s is below the minimum %v", o.name, show(v), *o.min)
	}
	if o.max != nil && x > *o.max {
		return refuse("OUT_OF_RANGE", "%s: %s is above the maximum %v", o.name, show(v), *o.max)
	}
	return nil
}

// show renders a value for people.
func show(v *eventv1.Value) string {
	switch k := v.GetKind().(type) {
	case *eventv1.Value_IntValue:
		return strconv.FormatInt(k.IntValue, 10)
	case *eventv1.Value_UintValue:
		return strconv.FormatUint(k.UintValue, 10)
	case *eventv1.Value_DoubleValue:
		return strconv.FormatFloat(k.DoubleValue, 'g', -1, 64)
	case *eventv1.Value_BoolValue:
		return strconv.FormatBool(k.BoolValue)
	case *eventv1.Value_StringValue:
		return strconv.Quote(k.StringValue)
	case *eventv1.Value_DecimalValue:
		return k.DecimalValue
	}
	return "of another type"
}

// recipe checks the parameters of an operation against a table and returns what is written, in the table's order.
func recipe(o *outputDef, list protoreflect.List) (values []*eventv1.Value, rows []*outputDef, r *refusal) {
	given := map[string]*eventv1.Parameter{}
	for i := range length(list) {
		p, ok := list.Get(i).Message().Interface().(*eventv1.Parameter)
		if !ok {
			return nil, nil, refuse("WRONG_TYPE", "%s: not a parameter", o.name)
		}
		if given[p.GetId()] != nil {
			return nil, nil, refuse("UNKNOWN_PARAMETER", "the parameter %q is given twice", p.GetId())
		}
		given[p.GetId()] = p
	}
	for _, row := range o.table {
		p := given[row.name]
		delete(given, row.name)
		if p == nil {
			if row.required {
				return nil, nil, refuse("MISSING_PARAMETER", "the parameter %q is required", row.name)
			}
			continue
		}
		v, r := row.parameter(p)
		if r != nil {
			return nil, nil, r
		}
		values, rows = append(values, v), append(rows, row)
	}
	for i := range length(list) { // in the list's order, so that the reason is the same each time
		if p, _ := list.Get(i).Message().Interface().(*eventv1.Parameter); given[p.GetId()] != nil {
			return nil, nil, refuse("UNKNOWN_PARAMETER", "the table has no parameter %q", p.GetId())
		}
	}
	return values, rows, nil
}

func length(l protoreflect.List) int {
	if l == nil || !l.IsValid() {
		return 0
	}
	return l.Len()
}

// parameter converts one parameter to the unit and type of its row.
func (o *outputDef) parameter(p *eventv1.Parameter) (*eventv1.Value, *refusal) {
	if p.GetUnitCode() != "" && o.unit != nil {
		if text, ok := decimalOf(p.GetValue()); ok {
			return o.fromDecimal(text, p.GetUnitCode())
		}
	}
	if p.GetValue().GetKind() == nil {
		return nil, refuse("MISSING_VALUE", "the parameter %q has no value", p.GetId())
	}
	return o.fit(p.GetValue())
}

func decimalOf(v *eventv1.Value) (string, bool) {
	switch k := v.GetKind().(type) {
	case *eventv1.Value_DecimalValue:
		return k.DecimalValue, true
	case *eventv1.Value_IntValue:
		return strconv.FormatInt(k.IntValue, 10), true
	case *eventv1.Value_UintValue:
		return strconv.FormatUint(k.UintValue, 10), true
	case *eventv1.Value_DoubleValue:
		return strconv.FormatFloat(k.DoubleValue, 'f', -1, 64), true
	}
	return "", false
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
			c.fault(place(*s, 0), "UNKNOWN_NAME", formula.Nearest(s.Text, c.outputNames()), "declare it below outputs:", "no output %q for %s:", s.Text, what)
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
