package formula

import (
	"maps"
	"math"
	"slices"

	"github.com/expr-lang/expr/ast"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/internal/nearest"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (c *checker) symbol(name string) *Symbol {
	for i := len(c.locals) - 1; i >= 0; i-- {
		if c.locals[i].Name == name {
			return c.locals[i]
		}
	}
	return c.env.Lookup(name)
}

func (c *checker) identifier(n *ast.IdentifierNode) *Expr {
	s, at := c.symbol(n.Value), c.at(n)
	if s == nil {
		return c.unknown(n.Value, at)
	}
	switch {
	case s.Let != nil:
		e := *s.Let
		e.Offset, e.Input = at, ""
		return &e
	case s.Object != nil:
		return c.object(s.Object, at)
	}
	if s.Input || s.Context {
		if why := c.env.Use("", s); why != "" {
			return c.fail(at, "MISPLACED", "", "", "%s", why)
		}
	}
	e := slotExpr(s.Kind, s.Slot, at)
	e.Unit = s.Unit
	if s.Input {
		e.Input = s.Name
	}
	return e
}

func (c *checker) unknown(name string, at int) *Expr {
	switch name {
	case "now":
		return c.fail(at, "NO_CLOCK", "", "use event_time, the time of what triggered the rule", `formulas have no clock: "now" would differ at each replay`)
	case "null":
		return c.fail(at, "UNKNOWN_NAME", "nil", "", `unknown name "null"`)
	}
	if slices.Contains(functionNames(), name) {
		return c.fail(at, "UNKNOWN_NAME", "", "write "+name+"(x)", "%q is a function", name)
	}
	hint := ""
	if c.env.Hint != nil {
		hint = c.env.Hint(name)
	}
	return c.fail(at, "UNKNOWN_NAME", nearest.Name(name, c.names(), nearest.TwoLetters), hint, "unknown name %q", name)
}

func (c *checker) names() (names []string) {
	for _, l := range c.locals {
		names = append(names, l.Name)
	}
	return append(names, c.env.Names()...)
}

// slotExpr reads a slot.
func slotExpr(k Kind, slot, offset int) *Expr {
	e := &Expr{Kind: k, Offset: offset, slot: slot}
	switch k {
	case Bool:
		e.Bool = func(f *Frame) (bool, bool) { s := &f.Slots[slot]; return s.Bits == 1, s.OK }
	case Int, Time:
		e.Int = func(f *Frame) (int64, bool) { s := &f.Slots[slot]; return int64(s.Bits), s.OK }
	case Uint:
		e.Uint = func(f *Frame) (uint64, bool) { s := &f.Slots[slot]; return s.Bits, s.OK }
	case Float:
		e.Float = func(f *Frame) (float64, bool) { s := &f.Slots[slot]; return math.Float64frombits(s.Bits), s.OK }
	case Text:
		e.Text = func(f *Frame) (string, bool) { s := &f.Slots[slot]; return s.Text, s.OK }
	}
	return e
}

// local is `let x = ...; ...` inside a formula. The value stands for its formula, like a let of the mapping.
func (c *checker) local(n *ast.VariableDeclaratorNode, depth int) *Expr {
	v := c.check(n.Value, depth)
	c.locals = append(c.locals, &Symbol{Name: n.Name, Kind: v.Kind, Let: v})
	e := c.check(n.Expr, depth)
	c.locals = c.locals[:len(c.locals)-1]
	return e
}

func (c *checker) list(n *ast.ArrayNode, depth int) *Expr {
	out := &Expr{Kind: List, Offset: c.at(n), slot: -1}
	bad := false
	for _, x := range n.Nodes {
		e := c.check(x, depth)
		switch {
		case e.Kind == Invalid:
			bad = true
		case e.Kind == List || e.Kind == Parameters || e.Kind == Object || e.Kind == Null:
			bad = true
			c.fail(e.Offset, "WRONG_TYPE", "", "", "a list holds texts and numbers, not a %s", e.Kind)
		}
		out.Items = append(out.Items, e)
		out.cost += e.cost
	}
	if bad {
		return invalid(out.Offset)
	}
	return out
}

// member reads m.column, or a field of e, old or operation.
func (c *checker) member(n *ast.MemberNode, depth int) *Expr {
	name, ok := n.Property.(*ast.StringNode)
	if !ok {
		return c.fail(c.at(n), "NOT_IN_LANGUAGE", "", "", "an index is not part of the mapping language")
	}
	if id, ok := n.Node.(*ast.IdentifierNode); ok && id.Value == "m" && c.symbol("m") == nil {
		return c.column(name.Value, c.at(n))
	}
	of := c.check(n.Node, depth)
	if of.Kind == Invalid {
		return of
	}
	if of.Kind != Object {
		return c.fail(c.at(n), "WRONG_TYPE", "", "only m, e, old and operation have fields", "a %s has no field %q", of.Kind, name.Value)
	}
	return c.field(of, name.Value, c.at(n))
}

func (c *checker) column(name string, at int) *Expr {
	if c.env.Columns != nil {
		if s := c.env.Columns(name); s != nil {
			return slotExpr(s.Kind, s.Slot, at)
		}
	}
	return c.fail(at, "UNKNOWN_COLUMN", nearest.Name(name, c.env.ColumnNames), "declare it below machine:", "no column %q in machine:", name)
}

// object reads a whole message.
func (c *checker) object(t *ObjectType, at int) *Expr {
	slot := t.Slot
	return &Expr{Kind: Object, Offset: at, slot: -1, object: t, Message: func(f *Frame) protoreflect.Message { return f.Objects[slot] }}
}
