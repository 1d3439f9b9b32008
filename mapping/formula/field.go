package formula

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/internal/nearest"
)

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
		return c.fail(at, "UNKNOWN_FIELD", nearest.Name(name, t.members()), "", "%s has no field %q", t.Name, name)
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

// getter reads a field, with whether it is there.
type getter func(*Frame) (protoreflect.Value, bool)

// read makes a closure of a getter.
func read[T any](get getter, of func(protoreflect.Value) T) func(*Frame) (T, bool) {
	return func(f *Frame) (out T, ok bool) {
		v, ok := get(f)
		if !ok {
			return out, false
		}
		return of(v), true
	}
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
		return listField(e, get, fd)
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		e.Kind, e.Bool = Bool, read(get, protoreflect.Value.Bool)
	case protoreflect.StringKind:
		e.Kind, e.Text = Text, read(get, protoreflect.Value.String)
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind, protoreflect.Sfixed32Kind, protoreflect.Sfixed64Kind:
		e.Kind, e.Int = Int, read(get, protoreflect.Value.Int)
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		e.Kind, e.Uint = Uint, read(get, protoreflect.Value.Uint)
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		e.Kind, e.Float = Float, read(get, protoreflect.Value.Float)
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

// listField reads a list of parameters; other lists have no place in formulas.
func listField(e *Expr, get getter, fd protoreflect.FieldDescriptor) *Expr {
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

func messageField(e *Expr, get getter, fd protoreflect.FieldDescriptor) *Expr {
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
func nanosOf(get getter, f *Frame) (int64, bool) {
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
