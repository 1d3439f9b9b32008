package formula

import (
	"cmp"
	"math"

	"github.com/expr-lang/expr/ast"
)

// compare checks and lowers a comparison. Integers compare exactly with integers, whatever their signs; an int and a
// float variable have an order, and no equality that means anything.
func (c *checker) compare(n *ast.BinaryNode, l, r *Expr) *Expr {
	op := n.Operator
	if l.Kind == Quantity {
		l = quantityAsFloat(l)
	}
	if r.Kind == Quantity {
		r = quantityAsFloat(r)
	}
	if l.Kind == Null || r.Kind == Null {
		return c.compareNil(n, l, r)
	}
	equality := op == "==" || op == "!="
	switch {
	case l.Kind == Bool && r.Kind == Bool && equality:
		a, b := l.Bool, r.Bool
		return &Expr{Kind: Bool, Bool: func(f *Frame) (bool, bool) {
			x, okX := a(f)
			y, okY := b(f)
			return (x == y) == (op == "=="), okX && okY
		}}
	case l.Kind == Text && r.Kind == Text:
		return &Expr{Kind: Bool, Bool: ordered(op, l.Text, r.Text)}
	case l.Kind == Time && r.Kind == Time:
		return &Expr{Kind: Bool, Bool: ordered(op, l.Int, r.Int)}
	case !l.Kind.numeric() || !r.Kind.numeric():
		return c.fail(c.at(n), "WRONG_TYPE", "", "", "%s cannot be compared with %s", l.Kind, r.Kind)
	}
	if !c.sameDimension(n, l, r) {
		return invalid(0)
	}
	return c.compareNumbers(n, l, r, equality)
}

func (c *checker) compareNumbers(n *ast.BinaryNode, l, r *Expr, equality bool) *Expr {
	op := n.Operator
	switch {
	case l.Kind == Float || r.Kind == Float:
		return c.compareFloat(n, l, r, equality)
	case l.Kind == Int && r.Kind == Int:
		return &Expr{Kind: Bool, Bool: intComparison(op, l, r)}
	case l.Kind == Uint && r.Kind == Uint:
		return &Expr{Kind: Bool, Bool: ordered(op, l.Uint, r.Uint)}
	case l.Kind == Uint:
		return &Expr{Kind: Bool, Bool: uintWithInt(op, l.Uint, r.Int)}
	}
	return &Expr{Kind: Bool, Bool: uintWithInt(mirrored(op), r.Uint, l.Int)}
}

// compareFloat handles numbers of which one is a float.
func (c *checker) compareFloat(n *ast.BinaryNode, l, r *Expr, equality bool) *Expr {
	op := n.Operator
	whole, other := l, r
	if l.Kind == Float {
		whole, other = r, l
	}
	literalFits := other.number != nil && other.number.f == math.Trunc(other.number.f) && math.Abs(other.number.f) < 1<<53
	if whole.Kind != Float && whole.number == nil && equality && !literalFits {
		return c.fail(c.at(n), "WRONG_TYPE", "", "use round(), or compare with < and >", "an %s is never exactly equal to a float", whole.Kind)
	}
	if whole.Kind == Int && whole.number == nil && other.number == nil {
		a, b := whole.Int, other.Float
		if whole == r {
			op = mirrored(op)
		}
		return &Expr{Kind: Bool, Bool: intWithFloat(op, a, b)}
	}
	a, b := floatExpr(l), floatExpr(r)
	if a.slot >= 0 && b.number != nil {
		return &Expr{Kind: Bool, Bool: slotComparison(op, a.slot, b.number.f)}
	}
	return &Expr{Kind: Bool, Bool: ordered(op, a.Float, b.Float)}
}

// slotComparison compares a tag with a constant.
func slotComparison(op string, slot int, k float64) BoolFunc {
	get := func(f *Frame) (float64, bool) { s := &f.Slots[slot]; return math.Float64frombits(s.Bits), s.OK }
	switch op {
	case "<":
		return func(f *Frame) (bool, bool) { s := &f.Slots[slot]; return math.Float64frombits(s.Bits) < k, s.OK }
	case ">":
		return func(f *Frame) (bool, bool) { s := &f.Slots[slot]; return math.Float64frombits(s.Bits) > k, s.OK }
	}
	return ordered(op, get, func(*Frame) (float64, bool) { return k, true })
}

func intComparison(op string, l, r *Expr) BoolFunc {
	if l.slot >= 0 && r.number != nil {
		slot, k := l.slot, r.number.i
		switch op {
		case "==":
			return func(f *Frame) (bool, bool) { s := &f.Slots[slot]; return int64(s.Bits) == k, s.OK }
		case ">":
			return func(f *Frame) (bool, bool) { s := &f.Slots[slot]; return int64(s.Bits) > k, s.OK }
		}
	}
	return ordered(op, l.Int, r.Int)
}

// compareNil is true where the other side is null: x == nil.
func (c *checker) compareNil(n *ast.BinaryNode, l, r *Expr) *Expr {
	if l.Kind == Null {
		l = r
	}
	want := n.Operator == "=="
	if !want && n.Operator != "!=" {
		return c.fail(c.at(n), "WRONG_TYPE", "", "", "nil has no order")
	}
	null := isNull(l)
	if null == nil {
		return c.fail(c.at(n), "WRONG_TYPE", "", "", "a %s cannot be compared with nil", l.Kind)
	}
	return &Expr{Kind: Bool, Bool: func(f *Frame) (bool, bool) { return null(f) == want, true }}
}

func isNull(e *Expr) func(*Frame) bool {
	switch e.Kind {
	case Bool:
		return func(f *Frame) bool { _, ok := e.Bool(f); return !ok }
	case Int, Time:
		return func(f *Frame) bool { _, ok := e.Int(f); return !ok }
	case Uint:
		return func(f *Frame) bool { _, ok := e.Uint(f); return !ok }
	case Float:
		return func(f *Frame) bool { _, ok := e.Float(f); return !ok }
	case Text:
		return func(f *Frame) bool { _, ok := e.Text(f); return !ok }
	case Object, Quantity:
		return func(f *Frame) bool { return e.Message(f) == nil }
	}
	return nil
}

func mirrored(op string) string {
	if m, ok := map[string]string{"<": ">", ">": "<", "<=": ">=", ">=": "<="}[op]; ok {
		return m
	}
	return op
}

func ordered[T cmp.Ordered](op string, a, b func(*Frame) (T, bool)) BoolFunc {
	both := func(f *Frame) (x, y T, ok bool) {
		x, okX := a(f)
		y, okY := b(f)
		return x, y, okX && okY
	}
	switch op {
	case "==":
		return func(f *Frame) (bool, bool) { x, y, ok := both(f); return x == y, ok }
	case "!=":
		return func(f *Frame) (bool, bool) { x, y, ok := both(f); return x != y, ok }
	case "<":
		return func(f *Frame) (bool, bool) { x, y, ok := both(f); return x < y, ok }
	case "<=":
		return func(f *Frame) (bool, bool) { x, y, ok := both(f); return x <= y, ok }
	case ">":
		return func(f *Frame) (bool, bool) { x, y, ok := both(f); return x > y, ok }
	}
	return func(f *Frame) (bool, bool) { x, y, ok := both(f); return x >= y, ok }
}

func uintWithInt(op string, a UintFunc, b IntFunc) BoolFunc {
	return byOrder(op, func(f *Frame) (int, bool) {
		x, okX := a(f)
		y, okY := b(f)
		if y < 0 {
			return 1, okX && okY
		}
		return cmp.Compare(x, uint64(y)), okX && okY
	})
}

// intWithFloat compares exactly: a float64 holds no odd integer above 2^53.
func intWithFloat(op string, a IntFunc, b FloatFunc) BoolFunc {
	return byOrder(op, func(f *Frame) (int, bool) {
		x, okX := a(f)
		y, okY := b(f)
		switch {
		case y >= 1<<63:
			return -1, okX && okY
		case y < -(1 << 63):
			return 1, okX && okY
		}
		whole := math.Floor(y)
		if o := cmp.Compare(x, int64(whole)); o != 0 || whole == y {
			return o, okX && okY
		}
		return -1, okX && okY
	})
}

func byOrder(op string, order func(*Frame) (int, bool)) BoolFunc {
	test := map[string]func(int) bool{
		"==": func(o int) bool { return o == 0 }, "!=": func(o int) bool { return o != 0 },
		"<": func(o int) bool { return o < 0 }, "<=": func(o int) bool { return o <= 0 },
		">": func(o int) bool { return o > 0 }, ">=": func(o int) bool { return o >= 0 },
	}[op]
	return func(f *Frame) (bool, bool) {
		o, ok := order(f)
		return ok && test(o), ok
	}
}
