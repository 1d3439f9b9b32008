package engine

import (
	"fmt"
	"math"
	"math/big"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plantloom/plantloom/internal/nearest"
	"github.com/plantloom/plantloom/mapping/formula"
)

// single lowers one value for a field: a formula, or a literal that the field's type decodes.
func (c *fieldCompiler) single(fd protoreflect.FieldDescriptor, n *Node, full string, beside *unitOf) valueFunc {
	switch {
	case n.Formula != nil:
		e := c.scope.compile(*n.Formula)
		if e.Kind == formula.Invalid {
			return nil
		}
		return c.convert(fd, e, *n.Formula, full, beside)
	case n.Literal != nil:
		v, why, near := literal(fd, n.Literal)
		if why != "" {
			code := "WRONG_TYPE"
			if fd.Enum() != nil {
				code = "UNKNOWN_ENUM"
			}
			c.fault(place(n.Literal.Source, 0), code, near, "", "the field %q wants %s, not %q", full, why, n.Literal.Text)
			return nil
		}
		if fd.Message() != nil {
			// Each event has its own copy: encoding writes into messages, and engines share the program.
			return func(*formula.Frame) (protoreflect.Value, bool, error) { return copied(v.Message()) }
		}
		return func(*formula.Frame) (protoreflect.Value, bool, error) { return v, true, nil }
	}
	c.fault(n.At, "WRONG_TYPE", "", "", "the field %q wants one value", full)
	return nil
}

// convert lowers a formula's result for a field, with its unit.
func (c *fieldCompiler) convert(fd protoreflect.FieldDescriptor, e *formula.Expr, src Source, full string, beside *unitOf) valueFunc {
	var out valueFunc
	switch fd.Kind() {
	case protoreflect.StringKind:
		if e.Kind == formula.Text {
			out = func(f *formula.Frame) (protoreflect.Value, bool, error) {
				v, ok := e.Text(f)
				return protoreflect.ValueOfString(v), ok, nil
			}
		}
	case protoreflect.BoolKind:
		if e.Kind == formula.Bool {
			out = func(f *formula.Frame) (protoreflect.Value, bool, error) {
				v, ok := e.Bool(f)
				return protoreflect.ValueOfBool(v), ok, nil
			}
		}
	case protoreflect.EnumKind:
		if e.Kind == formula.Text {
			return c.enum(fd, e, src, full)
		}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		if get := number(e); get != nil {
			out = func(f *formula.Frame) (protoreflect.Value, bool, error) {
				v, ok := get(f)
				return floatValue(fd, v), ok, nil
			}
		}
	case protoreflect.MessageKind:
		return c.convertMessage(fd, e, src, full, beside)
	case protoreflect.BytesKind, protoreflect.GroupKind:
	default:
		out = integer(fd, e, full)
	}
	if out == nil {
		c.mismatch(fd, e, src, full)
	}
	return out
}

func (c *fieldCompiler) mismatch(fd protoreflect.FieldDescriptor, e *formula.Expr, src Source, full string) {
	what, hint := fd.Kind().String(), ""
	switch {
	case fd.Message() != nil:
		what = string(fd.Message().Name())
	case fd.Enum() != nil:
		what = "a name of " + string(fd.Enum().Name())
	case fd.Kind() == protoreflect.StringKind:
		what, hint = "text", "declare the input with type: text"
	case e.Kind == formula.Float:
		hint = "use round()"
	}
	c.fault(place(src, e.Offset), "WRONG_TYPE", "", hint, "the field %q wants %s, not %s", full, what, e.Kind)
}

// number reads any number as a float; nil for other kinds.
func number(e *formula.Expr) formula.FloatFunc {
	switch e.Kind {
	case formula.Float:
		return e.Float
	case formula.Int:
		return func(f *formula.Frame) (float64, bool) { v, ok := e.Int(f); return float64(v), ok }
	case formula.Uint:
		return func(f *formula.Frame) (float64, bool) { v, ok := e.Uint(f); return float64(v), ok }
	}
	return nil
}

// whole reads a whole number exactly; nil for other kinds.
func whole(e *formula.Expr) func(f *formula.Frame) (*big.Int, bool) {
	switch e.Kind {
	case formula.Int:
		return func(f *formula.Frame) (*big.Int, bool) { v, ok := e.Int(f); return big.NewInt(v), ok }
	case formula.Uint:
		return func(f *formula.Frame) (*big.Int, bool) { v, ok := e.Uint(f); return new(big.Int).SetUint64(v), ok }
	}
	return nil
}

func integer(fd protoreflect.FieldDescriptor, e *formula.Expr, full string) valueFunc {
	get := whole(e)
	if get == nil {
		return nil
	}
	return func(f *formula.Frame) (protoreflect.Value, bool, error) {
		i, ok := get(f)
		if !ok {
			return protoreflect.Value{}, false, nil
		}
		v, fits := integerValue(fd, i)
		if !fits {
			return v, false, &ruleError{"RULE_OUT_OF_RANGE", fmt.Sprintf("%s does not fit into the field %q", i, full)}
		}
		return v, true, nil
	}
}

// enum checks the texts that a formula can give, and looks others up when it runs.
func (c *fieldCompiler) enum(fd protoreflect.FieldDescriptor, e *formula.Expr, src Source, full string) valueFunc {
	fine := true
	for _, l := range e.Literals {
		if _, ok := enumNumber(fd.Enum(), l.Text); !ok {
			fine = false
			c.fault(place(src, l.Offset), "UNKNOWN_ENUM", nearest.Name(l.Text, enumNames(fd.Enum())), "", "the field %q wants a name of %s, not %q", full, fd.Enum().Name(), l.Text)
		}
	}
	if !fine {
		return nil
	}
	numbers := map[string]protoreflect.EnumNumber{}
	for _, name := range enumNames(fd.Enum()) {
		numbers[name], _ = enumNumber(fd.Enum(), name)
	}
	return func(f *formula.Frame) (protoreflect.Value, bool, error) {
		v, ok := e.Text(f)
		if !ok {
			return protoreflect.Value{}, false, nil
		}
		n, known := numbers[v]
		if !known {
			return protoreflect.Value{}, false, &ruleError{"RULE_UNKNOWN_ENUM", fmt.Sprintf("the field %q has no value %q", full, v)}
		}
		return protoreflect.ValueOfEnum(n), true, nil
	}
}

func (c *fieldCompiler) convertMessage(fd protoreflect.FieldDescriptor, e *formula.Expr, src Source, full string, beside *unitOf) valueFunc {
	switch fd.Message().FullName() {
	case "google.protobuf.Timestamp":
		if e.Kind == formula.Time {
			return func(f *formula.Frame) (protoreflect.Value, bool, error) {
				v, ok := e.Int(f)
				return protoreflect.ValueOfMessage(timestamp(v).ProtoReflect()), ok, nil
			}
		}
	case "google.protobuf.Duration":
		if get := number(e); get != nil {
			return func(f *formula.Frame) (protoreflect.Value, bool, error) {
				v, ok := get(f)
				d := durationpb.New(time.Duration(math.Round(min(max(v, -9e9), 9e9) * 1e9)))
				return protoreflect.ValueOfMessage(d.ProtoReflect()), ok, nil
			}
		}
	case "plantloom.event.v1.Quantity":
		return c.quantity(fd, e, src, full)
	case "plantloom.event.v1.Value":
		return c.anyValue(fd, e, src, full, beside)
	}
	c.mismatch(fd, e, src, full)
	return nil
}

func timestamp(ns int64) *timestamppb.Timestamp { return timestamppb.New(time.Unix(0, ns)) }
