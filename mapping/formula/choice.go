package formula

import (
	"github.com/expr-lang/expr/ast"

	"github.com/plantloom/plantloom/internal/unit"
)

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
	if a.Unit != nil && b.Unit != nil && !a.Unit.Equal(*b.Unit) {
		c.fail(b.Offset, "UNIT_DIMENSION", "", "use convert() in one branch", "one branch is in %s and the other in %s", a.Unit, b.Unit)
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

func sameUnit(a, b *Expr) *unit.Unit {
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
