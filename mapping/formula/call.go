package formula

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/plantloom/plantloom/internal/nearest"
	"github.com/plantloom/plantloom/internal/unit"
	"github.com/plantloom/plantloom/pipeline"
)

// functionNames are the functions of the language.
func functionNames() []string {
	return []string{"delta", "prev", "ok", "quality", "ts", "age", "changed", "round", "lookup", "convert"}
}

// laterFunctions are those of the design that this version does not have.
func laterFunctions() []string {
	return []string{"mean", "min", "max", "sum", "count", "stddev", "duration", "order_at", "shift", "rate", "integrate", "accumulate", "hysteresis"}
}

func (c *checker) call(name string, at int, args []ast.Node, depth int) *Expr {
	switch name {
	case "delta", "prev", "ok", "quality", "ts", "age", "changed":
		return c.inputFunction(name, at, args)
	case "round":
		return c.round(at, args, depth)
	case "convert":
		return c.convert(at, args, depth)
	case "lookup":
		return c.lookup(at, args, depth)
	case "now":
		return c.unknown(name, at)
	}
	if slices.Contains(laterFunctions(), name) {
		return c.fail(at, "LATER_FEATURE", "", "", "%q is a later feature: it comes with windows and aggregates", name)
	}
	return c.fail(at, "UNKNOWN_FUNCTION", nearest.Name(name, functionNames()), "there are "+strings.Join(functionNames(), ", "), "unknown function %q", name)
}

func (c *checker) arity(name string, at int, args []ast.Node, from, to int) bool {
	if len(args) >= from && len(args) <= to {
		return true
	}
	wants := [...]string{"no argument", "one argument", "two arguments", "three arguments"}[from]
	if to > from {
		wants += " or more, " + [...]string{"0", "1", "2", "3"}[to] + " at most"
	}
	c.fail(at, "WRONG_ARITY", "", "", "%q wants %s, and gets %d", name, wants, len(args))
	return false
}

// inputFunction lowers a function that takes an input's name.
func (c *checker) inputFunction(name string, at int, args []ast.Node) *Expr {
	if !c.arity(name, at, args, 1, 1) {
		return invalid(at)
	}
	id, ok := args[0].(*ast.IdentifierNode)
	if !ok {
		return c.fail(c.begin(args[0]), "WRONG_TYPE", "", "name the input: "+name+"(good)", "%q wants the name of an input", name)
	}
	s := c.symbol(id.Value)
	if s == nil {
		return c.unknown(id.Value, c.at(id))
	}
	if !s.Input && (!s.Context || name == "delta" || name == "changed" || name == "prev") {
		return c.fail(c.at(id), "WRONG_TYPE", "", "", "%q wants the name of an input, and %q is none", name, s.Name)
	}
	if why := c.env.Use(name, s); why != "" {
		return c.fail(at, "MISPLACED", "", "", "%s", why)
	}
	slot := s.Slot
	out := &Expr{Offset: at, slot: -1}
	switch name {
	case "ok":
		out.Kind, out.Bool = Bool, func(f *Frame) (bool, bool) { x := &f.Slots[slot]; return x.OK && !x.Raw.IsBad(), true }
	case "quality":
		out.Kind, out.Uint = Uint, func(f *Frame) (uint64, bool) {
			x := &f.Slots[slot]
			if x.At == 0 && !x.OK {
				return uint64(pipeline.BadWaitingForInitialData), true
			}
			return uint64(x.Raw), true
		}
	case "ts":
		out.Kind, out.Int = Time, func(f *Frame) (int64, bool) { x := &f.Slots[slot]; return x.At, x.At != 0 }
	case "age":
		now := c.env.EventTime
		out.Kind, out.Float = Float, func(f *Frame) (float64, bool) {
			x := &f.Slots[slot]
			return float64(int64(f.Slots[now].Bits)-x.At) / 1e9, x.At != 0 && f.Slots[now].OK
		}
	case "changed":
		out = slotExpr(Bool, s.Changed, at)
	case "prev":
		out = slotExpr(s.Kind, s.Prev, at)
		out.Unit = s.Unit
	case "delta":
		return c.delta(s, c.at(id), at)
	}
	return out
}

func (c *checker) delta(s *Symbol, argument, at int) *Expr {
	k := s.Kind
	switch k {
	case Uint:
		k = Int // a difference may be negative
	case Int, Float:
	default:
		return c.fail(argument, "WRONG_TYPE", "", "", `"delta" wants a number, and %q is %s`, s.Name, s.Kind)
	}
	e := slotExpr(k, s.Delta, at)
	e.Unit = s.Unit
	return e
}

// round rounds halves away from zero: to a whole number without a second argument, else to so many decimals.
func (c *checker) round(at int, args []ast.Node, depth int) *Expr {
	if !c.arity("round", at, args, 1, 2) {
		return invalid(at)
	}
	x := c.check(args[0], depth)
	if x.Kind == Invalid {
		return x
	}
	if x.Kind == Quantity {
		x = quantityAsFloat(x)
	}
	if !x.Kind.numeric() {
		return c.fail(x.Offset, "WRONG_TYPE", "", "", `"round" wants a number, not %s`, x.Kind)
	}
	out := &Expr{Kind: Int, Unit: x.Unit, Offset: at, slot: -1, cost: x.cost}
	if len(args) == 1 {
		out.Int = roundToInt(x)
		return out
	}
	n := c.check(args[1], depth)
	if n.Kind == Invalid {
		return n
	}
	if n.number == nil || !n.number.integer || n.number.i < 0 || n.number.i > 15 {
		return c.fail(n.Offset, "WRONG_TYPE", "", "", "the number of decimals is a literal from 0 to 15")
	}
	scale, get := math.Pow10(int(n.number.i)), asFloat(x)
	out.Kind = Float
	out.Float = func(f *Frame) (float64, bool) {
		v, ok := get(f)
		scaled := v * scale
		if !ok || math.Abs(scaled) >= 1<<53 { // no decimals left to round
			return v, ok
		}
		return math.Round(scaled) / scale, true
	}
	return out
}

func roundToInt(x *Expr) IntFunc {
	if x.Kind != Float {
		return asInt(x)
	}
	get := x.Float
	return func(f *Frame) (int64, bool) {
		v, ok := get(f)
		v = math.Round(v)
		if ok && (v >= 1<<63 || v < -(1<<63)) {
			f.undefined()
			return 0, false
		}
		if !ok {
			return 0, false
		}
		return int64(v), true
	}
}

// convert turns a number into another unit of the same dimension.
func (c *checker) convert(at int, args []ast.Node, depth int) *Expr {
	if !c.arity("convert", at, args, 2, 2) {
		return invalid(at)
	}
	x := c.check(args[0], depth)
	text, ok := args[1].(*ast.StringNode)
	if !ok {
		return c.fail(c.begin(args[1]), "WRONG_TYPE", "", `write "N.m"`, `"convert" wants the unit as a literal text`)
	}
	inside := c.at(text) + 1 // behind the quote
	to, fault := ReadUnit(text.Value)
	if fault != nil {
		return c.fail(inside, fault.Code, fault.Near, fault.Hint, "%s", fault.Message)
	}
	if x.Kind == Invalid {
		return x
	}
	if !x.Kind.numeric() {
		return c.fail(x.Offset, "WRONG_TYPE", "", "", `"convert" wants a number, not %s`, x.Kind)
	}
	if x.Unit == nil {
		return c.fail(x.Offset, "UNIT_MISSING", "", "give the input its unit:", "the unit to convert from is not known")
	}
	out, err := ConvertTo(x, to)
	if err != nil {
		return c.fail(inside, "UNIT_DIMENSION", "", "", "%q cannot be converted to %q", x.Unit, to)
	}
	return out
}

// ReadUnit reads a UCUM or UNECE Rec. 20 code. The fault, nil when the text is a unit, has no place.
func ReadUnit(text string) (*unit.Unit, *Fault) {
	u, err := unit.Parse(text)
	if err == nil {
		return &u, nil
	}
	f := &Fault{Code: "UNKNOWN_UNIT", Message: err.Error(), Hint: "use a UCUM or UNECE code"}
	if unknown, ok := errors.AsType[*unit.UnknownError](err); ok {
		f.Near, f.Message = unknown.Near, fmt.Sprintf("unknown unit %q: %s", text, unknown.Reason)
	}
	return nil, f
}

// ConvertTo is e, which has a unit, as a float in another unit. It returns an *unit.IncompatibleError.
func ConvertTo(e *Expr, to *unit.Unit) (*Expr, error) {
	out := derive(e, Float)
	out.Unit, out.cost = to, e.cost+1
	get := asFloat(e)
	if e.Unit.Equal(*to) {
		out.Float = get
		return out, nil
	}
	conversion, err := unit.NewConversion(*e.Unit, *to)
	if err != nil {
		return nil, err
	}
	out.Float = func(f *Frame) (float64, bool) {
		v, ok := get(f)
		return finite(f, conversion.Apply(v), ok)
	}
	return out, nil
}

// lookup reads a cell of a look-up table: the second column, or the named one. A missing key is null.
func (c *checker) lookup(at int, args []ast.Node, depth int) *Expr {
	if !c.arity("lookup", at, args, 2, 3) {
		return invalid(at)
	}
	id, ok := args[0].(*ast.IdentifierNode)
	if !ok {
		return c.fail(c.begin(args[0]), "WRONG_TYPE", "", "write lookup(reasons, x) for reasons.csv", "the table of a look-up is its name")
	}
	key := c.check(args[1], depth)
	t := c.env.Tables[id.Value]
	if t == nil {
		return c.fail(c.at(id), "UNKNOWN_TABLE", nearest.Name(id.Value, sortedKeys(c.env.Tables)), "put the file "+id.Value+".csv beside the mapping", "there is no table %q", id.Value)
	}
	if key.Kind == Invalid {
		return key
	}
	get := asText(key)
	if get == nil {
		return c.fail(key.Offset, "WRONG_TYPE", "", "", "the key of a look-up is a text or a whole number, not %s", key.Kind)
	}
	column := 1
	if len(args) == 3 {
		name, ok := args[2].(*ast.StringNode)
		if !ok {
			return c.fail(c.begin(args[2]), "WRONG_TYPE", "", "", "the column of a look-up is a literal text")
		}
		if column = slices.Index(t.Columns, name.Value); column < 0 {
			return c.fail(c.at(name)+1, "UNKNOWN_COLUMN", nearest.Name(name.Value, t.Columns), "", "table %q has no column %q", id.Value, name.Value)
		}
	}
	rows := t.Rows
	return &Expr{Kind: Text, Offset: at, slot: -1, cost: key.cost, Text: func(f *Frame) (string, bool) {
		k, ok := get(f)
		if !ok {
			return "", false
		}
		row, found := rows[k]
		if !found || column >= len(row) {
			return "", false
		}
		return row[column], true
	}}
}
