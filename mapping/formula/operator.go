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

// coalesce is the value of l, or that of r where l is null.
func (c *checker) coalesce(n *ast.BinaryNode, l, r *Expr) *Expr {
	l, r, ok := c.unify(n, l, r)
	if !ok {
		return invalid(0)
	}
	out := &Expr{Kind: l.Kind, Unit: sameUnit(l, r), Literals: literals(l, r)}
	switch l.Kind {
	case Bool:
		out.Bool = orElse(l.Bool, r.Bool)
	case Int, Time:
		out.Int = orElse(l.Int, r.Int)
	case Uint:
		out.Uint = orElse(l.Uint, r.Uint)
	case Float:
		out.Float = orElse(l.Float, r.Float)
	case Text:
		out.Text = orElse(l.Text, r.Text)
	}
	return out
}

func orElse[T any](a, b func(*Frame) (T, bool)) func(*Frame) (T, bool) {
	return func(f *Frame) (T, bool) {
		if v, ok := a(f); ok {
			return v, true
		}
		return b(f)
	}
}

func (c *checker) conditional(n *ast.ConditionalNode, depth int) *Expr {
	cond, a, b := c.check(n.Cond, depth), c.check(n.Exp1, depth), c.check(n.Exp2, depth)
	if cond.Kind == Invalid || a.Kind == Invalid || b.Kind == Invalid {
		return invalid(c.at(n))
	}
	if cond.Kind != Bool && cond.Kind != Null {
		return c.fail(cond.Offset, "WRONG_TYPE", "", "", "a condition is a bool, not %s", cond.Kind)
	}
	a, b, ok := c.unify(n, a, b)
	if !ok {
		return invalid(c.at(n))
	}
	out := &Expr{Kind: a.Kind, Unit: sameUnit(a, b), Offset: c.at(n), slot: -1, Literals: literals(a, b), cost: cond.cost + a.cost + b.cost}
	test := asBool(cond)
	switch a.Kind {
	case Bool:
		out.Bool = choose(test, a.Bool, b.Bool)
	case Int, Time:
		out.Int = choose(test, a.Int, b.Int)
	case Uint:
		out.Uint = choose(test, a.Uint, b.Uint)
	case Float:
		out.Float = choose(test, a.Float, b.Float)
	case Text:
		out.Text = choose(test, a.Text, b.Text)
	}
	return out
}

// choose is null where the condition is.
func choose[T any](test BoolFunc, a, b func(*Frame) (T, bool)) func(*Frame) (T, bool) {
	return func(f *Frame) (v T, ok bool) {
		x, known := test(f)
		switch {
		case !known:
			return v, false
		case x:
			return a(f)
		}
		return b(f)
	}
}

// unify gives two results one kind: a literal takes the other's, an int beside a float becomes one.
func (c *checker) unify(n ast.Node, a, b *Expr) (x, y *Expr, ok bool) {
	if a.Kind == Quantity {
		a = quantityAsFloat(a)
	}
	if b.Kind == Quantity {
		b = quantityAsFloat(b)
	}
	if a.Kind == Null {
		a = nullOf(b.Kind, a.Offset)
	}
	if b.Kind == Null {
		b = nullOf(a.Kind, b.Offset)
	}
	switch {
	case a.Kind == List || a.Kind == Object || a.Kind == Parameters:
		c.fail(c.at(n), "WRONG_TYPE", "", "", "a %s cannot be chosen by a formula", a.Kind)
		return nil, nil, false
	case a.Kind == b.Kind && a.Kind != Null:
	case a.Kind == Null:
		c.fail(c.at(n), "WRONG_TYPE", "", "", "the formula is always nil")
		return nil, nil, false
	case a.Kind.numeric() && b.Kind.numeric():
		a, b = c.sameNumber(a, b)
	default:
		c.fail(b.Offset, "WRONG_TYPE", "", "", "one branch is %s and the other %s", a.Kind, b.Kind)
		return nil, nil, false
	}
	if a.Unit != nil && b.Unit != nil && !a.Unit.Same(b.Unit) {
		c.fail(b.Offset, "UNIT_DIMENSION", "", "use convert() in one branch", "one branch is in %s and the other in %s", a.Unit.Name, b.Unit.Name)
		return nil, nil, false
	}
	return a, b, true
}

// sameNumber brings two numbers to one kind: uint with a literal stays uint, int with uint is int, and float wins.
func (c *checker) sameNumber(a, b *Expr) (x, y *Expr) {
	switch {
	case a.Kind == b.Kind:
		return a, b
	case a.Kind == Float || b.Kind == Float:
		return floatExpr(a), floatExpr(b)
	case a.Kind == Uint && b.number != nil && b.number.i >= 0:
		return a, uintLiteral(b)
	case b.Kind == Uint && a.number != nil && a.number.i >= 0:
		return uintLiteral(a), b
	}
	return intExpr(a), intExpr(b)
}

func sameUnit(a, b *Expr) *Unit {
	if a.Unit != nil {
		return a.Unit
	}
	return b.Unit
}

// literals are the texts that either can be; nil when one is not known.
func literals(a, b *Expr) []Literal {
	if a.Literals == nil || b.Literals == nil {
		return nil
	}
	return append(append([]Literal(nil), a.Literals...), b.Literals...)
}

// nullOf is a null of a kind.
func nullOf(k Kind, offset int) *Expr {
	e := &Expr{Kind: k, Offset: offset, slot: -1, Literals: []Literal{}}
	e.Bool = func(*Frame) (bool, bool) { return false, false }
	e.Int = func(*Frame) (int64, bool) { return 0, false }
	e.Uint = func(*Frame) (uint64, bool) { return 0, false }
	e.Float = func(*Frame) (float64, bool) { return 0, false }
	e.Text = func(*Frame) (string, bool) { return "", false }
	return e
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
