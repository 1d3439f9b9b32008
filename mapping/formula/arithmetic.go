package formula

import (
	"math"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/plantloom/plantloom/internal/unit"
)

func uintOp(operator string) func(f *Frame, a, b uint64) (uint64, bool) {
	switch operator {
	case "+":
		return func(f *Frame, a, b uint64) (uint64, bool) { return a + b, a+b >= a }
	case "-":
		return func(f *Frame, a, b uint64) (uint64, bool) { return a - b, a >= b }
	case "*":
		return func(f *Frame, a, b uint64) (uint64, bool) { return a * b, a == 0 || (a*b)/a == b }
	}
	return func(f *Frame, a, b uint64) (uint64, bool) {
		if b == 0 {
			return 0, false
		}
		return a % b, true
	}
}

func (c *checker) arithmetic(n *ast.BinaryNode, l, r *Expr) *Expr {
	if l.Kind == Quantity {
		l = quantityAsFloat(l)
	}
	if r.Kind == Quantity {
		r = quantityAsFloat(r)
	}
	op := n.Operator
	switch {
	case l.Kind == Text && r.Kind == Text && op == "+":
		return c.concat(l, r)
	case l.Kind == Time && r.Kind == Time && op == "-":
		return timeDifference(l, r)
	case !l.Kind.numeric() || !r.Kind.numeric():
		hint := ""
		if (l.Kind == Text) != (r.Kind == Text) {
			hint = "an input of type text holds numbers as text too"
		}
		return c.fail(c.at(n), "WRONG_TYPE", "", hint, "%q wants numbers, not %s and %s", op, l.Kind, r.Kind)
	}
	in, ok := c.resultUnit(n, l, r)
	if !ok {
		return invalid(0)
	}
	a, b := c.sameNumber(l, r)
	switch {
	case op == "/":
		out := &Expr{Kind: Float, Unit: in}
		out.Float = divide(asFloat(a), asFloat(b))
		return out
	case op == "%" && a.Kind == Float:
		return c.fail(c.at(n), "WRONG_TYPE", "", "", `"%%" wants integers`)
	case a.Kind == Float:
		return &Expr{Kind: Float, Unit: in, Float: floatOp(op, a, b)}
	case a.Kind == Uint:
		return &Expr{Kind: Uint, Unit: in, Uint: checkedUint(uintOp(op), a.Uint, b.Uint)}
	}
	do := map[string]func(*Frame, int64, int64, bool) (int64, bool){"+": addInt, "-": subInt, "*": mulInt, "%": modInt}[op]
	x, y := a.Int, b.Int
	return &Expr{Kind: Int, Unit: in, Int: func(f *Frame) (int64, bool) {
		v, okV := x(f)
		w, okW := y(f)
		return do(f, v, w, okV && okW)
	}}
}

func checkedUint(do func(*Frame, uint64, uint64) (uint64, bool), a, b UintFunc) UintFunc {
	return func(f *Frame) (uint64, bool) {
		v, okV := a(f)
		w, okW := b(f)
		if !okV || !okW {
			return 0, false
		}
		z, ok := do(f, v, w)
		if !ok {
			f.undefined()
			return 0, false
		}
		return z, true
	}
}

// resultUnit says in which unit a sum, difference, product or quotient is.
func (c *checker) resultUnit(n *ast.BinaryNode, l, r *Expr) (*unit.Unit, bool) {
	switch n.Operator {
	case "+", "-":
		if !c.sameDimension(n, l, r) {
			return nil, false
		}
		return sameUnit(l, r), true
	case "*", "/", "%":
		if r.Unit == nil && r.number != nil {
			return l.Unit, true
		}
		if l.Unit == nil && l.number != nil && n.Operator == "*" {
			return r.Unit, true
		}
	}
	return nil, true
}

// sameDimension reports two numbers whose units do not go together.
func (c *checker) sameDimension(n *ast.BinaryNode, l, r *Expr) bool {
	if l.Unit == nil || r.Unit == nil || l.Unit.Equal(*r.Unit) {
		return true
	}
	hint := "use convert()"
	if !unit.Compatible(*l.Unit, *r.Unit) {
		hint = ""
	}
	c.fail(c.at(n), "UNIT_DIMENSION", "", hint, "%q stands between %s and %s", n.Operator, l.Unit, r.Unit)
	return false
}

// floatOp has short ways for the commonest forms: a tag and a constant. Products are rounded by a conversion, so that
// no processor fuses them with what follows, and a replay elsewhere gives the same bits.
func floatOp(op string, a, b *Expr) FloatFunc {
	x, y := a.Float, b.Float
	if a.slot >= 0 && b.number != nil {
		slot, k := a.slot, b.number.f
		switch op {
		case "+":
			return func(f *Frame) (float64, bool) {
				s := &f.Slots[slot]
				return finite(f, math.Float64frombits(s.Bits)+k, s.OK)
			}
		case "-":
			return func(f *Frame) (float64, bool) {
				s := &f.Slots[slot]
				return finite(f, math.Float64frombits(s.Bits)-k, s.OK)
			}
		case "*":
			return func(f *Frame) (float64, bool) {
				s := &f.Slots[slot]
				return finite(f, float64(math.Float64frombits(s.Bits)*k), s.OK)
			}
		}
	}
	switch op {
	case "+":
		return func(f *Frame) (float64, bool) {
			v, okV := x(f)
			w, okW := y(f)
			return finite(f, v+w, okV && okW)
		}
	case "-":
		return func(f *Frame) (float64, bool) {
			v, okV := x(f)
			w, okW := y(f)
			return finite(f, v-w, okV && okW)
		}
	}
	return func(f *Frame) (float64, bool) {
		v, okV := x(f)
		w, okW := y(f)
		return finite(f, float64(v*w), okV && okW)
	}
}

// finite makes an infinite result undefined: no infinity reaches an event. It compares and does not compute: where it
// is inlined behind a product, a processor could fuse the two and see what was rounded away.
func finite(f *Frame, v float64, ok bool) (float64, bool) {
	if (v >= -math.MaxFloat64 && v <= math.MaxFloat64) || !ok { // neither NaN nor infinite
		return v, ok
	}
	f.undefined()
	return 0, false
}

func divide(x, y FloatFunc) FloatFunc {
	return func(f *Frame) (float64, bool) {
		v, okV := x(f)
		w, okW := y(f)
		if !okV || !okW {
			return 0, false
		}
		if w == 0 {
			f.undefined()
			return 0, false
		}
		return finite(f, v/w, true)
	}
}

// timeDifference is the seconds between two times.
func timeDifference(l, r *Expr) *Expr {
	a, b := l.Int, r.Int
	return &Expr{Kind: Float, Float: func(f *Frame) (float64, bool) {
		x, okX := a(f)
		y, okY := b(f)
		d, ok := subInt(f, x, y, okX && okY)
		return float64(d) / 1e9, ok
	}}
}

// concat flattens chains, so that a text of many parts is built once.
func (c *checker) concat(l, r *Expr) *Expr {
	parts := append(append([]*Expr(nil), textParts(l)...), textParts(r)...)
	out := &Expr{Kind: Text, Items: parts}
	if len(parts) == 2 {
		a, b := parts[0].Text, parts[1].Text
		out.Text = func(f *Frame) (string, bool) {
			x, okX := a(f)
			y, okY := b(f)
			if !okX || !okY {
				return "", false
			}
			return x + y, true
		}
		return out
	}
	out.Text = func(f *Frame) (string, bool) {
		var few [8]string
		all := few[:0]
		for _, p := range parts {
			v, ok := p.Text(f)
			if !ok {
				return "", false
			}
			all = append(all, v)
		}
		return strings.Join(all, ""), true
	}
	return out
}

func textParts(e *Expr) []*Expr {
	if e.Kind == Text && e.Items != nil {
		return e.Items
	}
	return []*Expr{e}
}
