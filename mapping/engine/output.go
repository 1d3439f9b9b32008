package engine

import (
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/internal/unit"
	"github.com/plantloom/plantloom/mapping/formula"
)

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

// fromDecimal reads decimal text in a unit: exactly where the output is whole, rounded once where it is a float.
func (o *outputDef) fromDecimal(text, code string) (*eventv1.Value, *refusal) {
	r, ok := formula.ParseDecimal(text)
	if !ok {
		return nil, refuse("WRONG_TYPE", "%s: %q is not a number", o.name, text)
	}
	if code != "" && o.unit != nil {
		from, err := unit.Parse(code)
		if err == nil {
			r, err = unit.ConvertRat(r, from, *o.unit)
		}
		if err != nil {
			return nil, refuse("WRONG_UNIT", "%s is in %s, and the value in %q", o.name, o.unit, code)
		}
	}
	switch o.kind {
	case formula.Float:
		x, _ := r.Float64()
		if math.IsInf(x, 0) {
			return nil, refuse("OUT_OF_RANGE", "%s: %s %s does not fit", o.name, text, code)
		}
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

// limits checks min, max and max_len. Numbers are compared exactly, as they are written: large integers are not rounded.
func (o *outputDef) limits(v *eventv1.Value) *refusal {
	var x big.Float
	switch k := v.GetKind().(type) {
	case *eventv1.Value_IntValue:
		x.SetInt64(k.IntValue)
	case *eventv1.Value_UintValue:
		x.SetUint64(k.UintValue)
	case *eventv1.Value_DoubleValue:
		x.SetFloat64(k.DoubleValue)
	case *eventv1.Value_StringValue:
		if n := utf8.RuneCountInString(k.StringValue); o.maxLen > 0 && n > o.maxLen {
			return refuse("TOO_LONG", "%s: %q has %d characters, and %d fit", o.name, k.StringValue, n, o.maxLen)
		}
		return nil
	default:
		return nil
	}
	if o.min != nil && x.Cmp(big.NewFloat(*o.min)) < 0 {
		return refuse("OUT_OF_RANGE", "%s: %s is below the minimum %v", o.name, show(v), *o.min)
	}
	if o.max != nil && x.Cmp(big.NewFloat(*o.max)) > 0 {
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
