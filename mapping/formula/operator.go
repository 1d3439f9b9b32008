package formula

import (
	"strings"

	"github.com/expr-lang/expr/ast"
)

func (c *checker) unary(n *ast.UnaryNode, depth int) *Expr {
	e, at := c.check(n.Node, depth), c.at(n)
	if e.Kind == Invalid {
		return e
	}
	out := &Expr{Kind: e.Kind, Unit: e.Unit, Offset: at, slot: -1, cost: e.cost}
	switch n.Operator {
	case "not", "!":
		if e.Kind == Null || e.Kind == Bool {
			x := asBool(e)
			out.Kind, out.Bool = Bool, func(f *Frame) (bool, bool) { v, ok := x(f); return !v, ok }
			return out
		}
		return c.fail(at, "WRONG_TYPE", "", "put brackets around a comparison: not (a == b)", "%q wants a bool, not %s", "not", e.Kind)
	}
	if e.Kind == Quantity {
		e = quantityAsFloat(e)
		out.Kind = Float
	}
	if n.Operator == "+" && e.Kind.numeric() {
		return e
	}
	if e.number != nil && n.Operator == "-" {
		if e.number.integer {
			return intLiteral(-e.number.i, at)
		}
		return floatLiteral(-e.number.f, at)
	}
	switch e.Kind {
	case Int:
		x := e.Int
		out.Int = func(f *Frame) (int64, bool) {
			v, ok := x(f)
			return subInt(f, 0, v, ok)
		}
		return out
	case Float:
		x := e.Float
		out.Float = func(f *Frame) (float64, bool) { v, ok := x(f); return -v, ok }
		return out
	case Uint:
		return c.unary2Int(e, at)
	}
	return c.fail(at, "WRONG_TYPE", "", "", "%q wants a number, not %s", n.Operator, e.Kind)
}

func (c *checker) unary2Int(e *Expr, at int) *Expr {
	x := asInt(e)
	return &Expr{Kind: Int, Unit: e.Unit, Offset: at, slot: -1, cost: e.cost + 1, Int: func(f *Frame) (int64, bool) {
		v, ok := x(f)
		return subInt(f, 0, v, ok)
	}}
}

func (c *checker) binary(n *ast.BinaryNode, depth int) *Expr {
	l, r := c.check(n.Left, depth), c.check(n.Right, depth)
	if l.Kind == Invalid || r.Kind == Invalid {
		return invalid(c.begin(n))
	}
	var out *Expr
	switch n.Operator {
	case "and", "&&", "or", "||":
		out = c.logic(n, l, r)
	case "==", "!=", "<", "<=", ">", ">=":
		out = c.compare(n, l, r)
	case "+", "-", "*", "/", "%":
		out = c.arithmetic(n, l, r)
	case "??":
		out = c.coalesce(n, l, r)
	case "in":
		out = c.in(n, l, r)
	case "contains", "startsWith", "endsWith":
		out = c.textTest(n, l, r)
	default:
		return c.fail(c.at(n), "NOT_IN_LANGUAGE", "", "", "the operator %q is not part of the mapping language", n.Operator)
	}
	if out.Kind != Invalid {
		out.Offset, out.cost, out.slot = c.begin(n), l.cost+r.cost, -1
	}
	return out
}

// logic is three-valued: false and null is false, true or null is true.
func (c *checker) logic(n *ast.BinaryNode, l, r *Expr) *Expr {
	for _, e := range []*Expr{l, r} {
		if e.Kind != Bool && e.Kind != Null {
			return c.fail(c.at(n), "WRONG_TYPE", "", "", "%q wants bools, not %s", n.Operator, e.Kind)
		}
	}
	a, b := asBool(l), asBool(r)
	decides := n.Operator == "or" || n.Operator == "||" // the value that decides alone
	return &Expr{Kind: Bool, Bool: func(f *Frame) (bool, bool) {
		x, okX := a(f)
		if okX && x == decides {
			return decides, true
		}
		y, okY := b(f)
		if okY && y == decides {
			return decides, true
		}
		return !decides && okX && okY, okX && okY
	}}
}

func (c *checker) textTest(n *ast.BinaryNode, l, r *Expr) *Expr {
	if l.Kind != Text || r.Kind != Text {
		return c.fail(c.at(n), "WRONG_TYPE", "", "", "%q wants texts, not %s and %s", n.Operator, l.Kind, r.Kind)
	}
	test := map[string]func(string, string) bool{
		"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix,
	}[n.Operator]
	a, b := l.Text, r.Text
	return &Expr{Kind: Bool, Bool: func(f *Frame) (bool, bool) {
		x, okX := a(f)
		y, okY := b(f)
		return okX && okY && test(x, y), okX && okY
	}}
}

// in compares with each item of a list: true when one is equal, else null when the value or an item is null.
func (c *checker) in(n *ast.BinaryNode, l, r *Expr) *Expr {
	if r.Kind != List {
		return c.fail(r.Offset, "WRONG_TYPE", "", `write x in ["a", "b"]`, `"in" wants a list on its right, not %s`, r.Kind)
	}
	equal := *n
	equal.Operator = "=="
	var tests []BoolFunc
	for _, item := range r.Items {
		e := c.compare(&equal, l, item)
		if e.Kind == Invalid {
			return e
		}
		tests = append(tests, e.Bool)
	}
	return &Expr{Kind: Bool, Bool: func(f *Frame) (bool, bool) {
		known := true
		for _, t := range tests {
			v, ok := t(f)
			if v && ok {
				return true, true
			}
			known = known && ok
		}
		return false, known
	}}
}
