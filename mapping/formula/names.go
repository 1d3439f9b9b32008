package formula

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"google.golang.org/protobuf/reflect/protoreflect"
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
	return c.fail(at, "UNKNOWN_NAME", Nearest(name, c.names()), "", "unknown name %q", name)
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
	return c.fail(at, "UNKNOWN_COLUMN", Nearest(name, c.env.ColumnNames), "declare it below machine:", "no column %q in machine:", name)
}

// object reads a whole message.
func (c *checker) object(t *ObjectType, at int) *Expr {
	slot := t.Slot
	return &Expr{Kind: Object, Offset: at, slot: -1, object: t, Message: func(f *Frame) protoreflect.Message { return f.Objects[slot] }}
}

func (c *checker) field(of *Expr, name string, at int) *Expr {
	t := of.object
	if sub, ok := t.Objects[name]; ok {
		return c.object(sub, at)
	}
	if real, ok := t.Alias[name]; ok {
		name = real
	}
	fd := t.Desc.Fields().ByName(protoreflect.Name(name))
	if fd == nil {
		return c.fail(at, "UNKNOWN_FIELD", Nearest(name, t.members()), "", "%s has no field %q", t.Name, name)
	}
	e := fieldExpr(of.Message, fd, at)
	if e == nil {
		return c.fail(at, "NOT_IN_LANGUAGE", "", "", "the field %q of %s cannot be read by a formula", name, t.Name)
	}
	if e.Kind == Object {
		e.object = &ObjectType{Name: t.Name + "." + name, Desc: fd.Message()}
	}
	e.cost = of.cost
	return e
}

// fieldExpr reads a field of a message; nil when its type has no place in formulas.
func fieldExpr(of MessageFunc, fd protoreflect.FieldDescriptor, at int) *Expr {
	e := &Expr{Offset: at, slot: -1}
	get := func(f *Frame) (protoreflect.Value, bool) {
		m := of(f)
		if m == nil || (fd.HasPresence() && !m.Has(fd)) {
			return protoreflect.Value{}, false
		}
		return m.Get(fd), true
	}
	switch {
	case fd.IsMap():
		return nil
	case fd.IsList():
		if fd.Message() == nil || fd.Message().Name() != "Parameter" {
			return nil
		}
		e.Kind = Parameters
		e.Params = func(f *Frame) protoreflect.List {
			if v, ok := get(f); ok {
				return v.List()
			}
			return nil
		}
		return e
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		e.Kind, e.Bool = Bool, func(f *Frame) (bool, bool) { v, ok := get(f); return ok && v.Bool(), ok }
	case protoreflect.StringKind:
		e.Kind, e.Text = Text, func(f *Frame) (string, bool) {
			if v, ok := get(f); ok {
				return v.String(), true
			}
			return "", false
		}
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind, protoreflect.Sfixed32Kind, protoreflect.Sfixed64Kind:
		e.Kind, e.Int = Int, func(f *Frame) (int64, bool) {
			if v, ok := get(f); ok {
				return v.Int(), true
			}
			return 0, false
		}
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		e.Kind, e.Uint = Uint, func(f *Frame) (uint64, bool) {
			if v, ok := get(f); ok {
				return v.Uint(), true
			}
			return 0, false
		}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		e.Kind, e.Float = Float, func(f *Frame) (float64, bool) {
			if v, ok := get(f); ok {
				return v.Float(), true
			}
			return 0, false
		}
	case protoreflect.EnumKind:
		values := fd.Enum()
		e.Kind, e.Text = Text, func(f *Frame) (string, bool) {
			v, ok := get(f)
			if !ok || v.Enum() == 0 {
				return "", false
			}
			return EnumName(values, v.Enum()), true
		}
	case protoreflect.MessageKind:
		return messageField(e, get, fd)
	default:
		return nil
	}
	return e
}

func messageField(e *Expr, get func(*Frame) (protoreflect.Value, bool), fd protoreflect.FieldDescriptor) *Expr {
	switch fd.Message().FullName() {
	case "google.protobuf.Timestamp":
		e.Kind, e.Int = Time, func(f *Frame) (int64, bool) { return nanosOf(get, f) }
		return e
	case "google.protobuf.Duration":
		e.Kind, e.Float = Float, func(f *Frame) (float64, bool) {
			ns, ok := nanosOf(get, f)
			return float64(ns) / 1e9, ok
		}
		return e
	case "plantloom.event.v1.Quantity":
		e.Kind = Quantity
	case "plantloom.event.v1.Value":
		return nil
	default:
		e.Kind = Object
	}
	e.Message = func(f *Frame) protoreflect.Message {
		if v, ok := get(f); ok {
			return v.Message()
		}
		return nil
	}
	return e
}

// nanosOf reads a Timestamp or a Duration.
func nanosOf(get func(*Frame) (protoreflect.Value, bool), f *Frame) (int64, bool) {
	v, ok := get(f)
	if !ok {
		return 0, false
	}
	m := v.Message()
	fields := m.Descriptor().Fields()
	return m.Get(fields.ByNumber(1)).Int()*1e9 + m.Get(fields.ByNumber(2)).Int(), true
}

// EnumName is the short name of an enum's value: PASS for VERDICT_PASS, "" for a number without a name.
func EnumName(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	v := d.Values().ByNumber(n)
	if v == nil {
		return ""
	}
	return strings.TrimPrefix(string(v.Name()), EnumPrefix(d))
}

// EnumPrefix is what stands in front of the short names of an enum.
func EnumPrefix(d protoreflect.EnumDescriptor) string {
	return strings.TrimSuffix(string(d.Values().Get(0).Name()), "UNSPECIFIED")
}
