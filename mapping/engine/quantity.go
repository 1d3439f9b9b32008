package engine

import (
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/internal/unit"
	"github.com/plantloom/plantloom/mapping/formula"
)

// quantity makes decimal text with the unit of the formula.
func (c *fieldCompiler) quantity(fd protoreflect.FieldDescriptor, e *formula.Expr, src Source, full string) valueFunc {
	if e.Kind == formula.Quantity {
		return func(f *formula.Frame) (protoreflect.Value, bool, error) { return copied(e.Message(f)) }
	}
	get := decimal(e)
	if get == nil {
		c.mismatch(fd, e, src, full)
		return nil
	}
	if e.Unit == nil {
		c.fault(place(src, e.Offset), "UNIT_MISSING", "", "give the input its unit:, or use convert()", "the field %q needs a unit", full)
		return nil
	}
	if e.Unit.Code() == "" {
		c.fault(place(src, e.Offset), "UNKNOWN_UNIT", "", "use convert()", "%q has no UNECE code, which events carry", e.Unit)
		return nil
	}
	code := e.Unit.Code()
	return func(f *formula.Frame) (protoreflect.Value, bool, error) {
		v, ok := get(f)
		if !ok {
			return protoreflect.Value{}, false, nil
		}
		return quantity(v, code), true, nil
	}
}

// copied keeps a message of the log out of an event that lives longer.
func copied(m protoreflect.Message) (protoreflect.Value, bool, error) {
	if m == nil || !m.IsValid() {
		return protoreflect.Value{}, false, nil
	}
	return protoreflect.ValueOfMessage(proto.Clone(m.Interface()).ProtoReflect()), true, nil
}

// decimal is the shortest decimal text of a number, without an exponent; nil for other kinds.
func decimal(e *formula.Expr) formula.TextFunc {
	switch e.Kind {
	case formula.Int:
		return func(f *formula.Frame) (string, bool) { v, ok := e.Int(f); return strconv.FormatInt(v, 10), ok }
	case formula.Uint:
		return func(f *formula.Frame) (string, bool) { v, ok := e.Uint(f); return strconv.FormatUint(v, 10), ok }
	case formula.Float:
		return func(f *formula.Frame) (string, bool) {
			v, ok := e.Float(f)
			return strconv.FormatFloat(v+0, 'f', -1, 64), ok
		}
	}
	return nil
}

// anyValue makes a Value of any kind, converted to the unit_code beside it.
func (c *fieldCompiler) anyValue(fd protoreflect.FieldDescriptor, e *formula.Expr, src Source, full string, beside *unitOf) valueFunc {
	converted, err := inUnit(e, beside.want)
	if err != nil {
		c.fault(place(src, e.Offset), "UNIT_DIMENSION", "", "", "the field %q is in %s, and the formula in %s", full, beside.want, e.Unit)
		return nil
	}
	e = converted
	beside.found = e.Unit
	get := valueOf(e)
	if get == nil {
		c.mismatch(fd, e, src, full)
		return nil
	}
	return func(f *formula.Frame) (protoreflect.Value, bool, error) {
		v := get(f)
		if v == nil {
			return protoreflect.Value{}, false, nil
		}
		return protoreflect.ValueOfMessage(v.ProtoReflect()), true, nil
	}
}

// inUnit is e in the unit that is wanted. Where either unit is not known, or a value means the same in both, it is e.
func inUnit(e *formula.Expr, want *unit.Unit) (*formula.Expr, error) {
	if want == nil || e.Unit == nil || e.Unit.Equal(*want) {
		return e, nil
	}
	return formula.ConvertTo(e, want)
}

// valueOf makes a Value of a formula's result, nil where it is null; it returns nil for kinds that have none.
func valueOf(e *formula.Expr) func(f *formula.Frame) *eventv1.Value {
	present := func(ok bool, v *eventv1.Value) *eventv1.Value {
		if !ok {
			return nil
		}
		return v
	}
	switch e.Kind {
	case formula.Bool:
		return func(f *formula.Frame) *eventv1.Value {
			v, ok := e.Bool(f)
			return present(ok, &eventv1.Value{Kind: &eventv1.Value_BoolValue{BoolValue: v}})
		}
	case formula.Int:
		return func(f *formula.Frame) *eventv1.Value {
			v, ok := e.Int(f)
			return present(ok, &eventv1.Value{Kind: &eventv1.Value_IntValue{IntValue: v}})
		}
	case formula.Uint:
		return func(f *formula.Frame) *eventv1.Value {
			v, ok := e.Uint(f)
			return present(ok, &eventv1.Value{Kind: &eventv1.Value_UintValue{UintValue: v}})
		}
	case formula.Float:
		return func(f *formula.Frame) *eventv1.Value {
			v, ok := e.Float(f)
			return present(ok, &eventv1.Value{Kind: &eventv1.Value_DoubleValue{DoubleValue: v}})
		}
	case formula.Text:
		return func(f *formula.Frame) *eventv1.Value {
			v, ok := e.Text(f)
			return present(ok, &eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: v}})
		}
	case formula.Time:
		return func(f *formula.Frame) *eventv1.Value {
			v, ok := e.Int(f)
			return present(ok, &eventv1.Value{Kind: &eventv1.Value_TimeValue{TimeValue: timestamp(v)}})
		}
	case formula.Quantity:
		return func(f *formula.Frame) *eventv1.Value {
			v, _, ok := formula.QuantityOf(e.Message(f))
			return present(ok, &eventv1.Value{Kind: &eventv1.Value_DecimalValue{DecimalValue: v}})
		}
	}
	return nil
}
