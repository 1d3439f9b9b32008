package engine

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/internal/nearest"
	"github.com/plantloom/plantloom/internal/unit"
	"github.com/plantloom/plantloom/mapping/formula"
)

// literal decodes text by the field's type; why says what the field wants when it does not fit.
func literal(fd protoreflect.FieldDescriptor, l *Literal) (v protoreflect.Value, why, near string) {
	text := l.Text
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), "", ""
	case protoreflect.BoolKind:
		if text != "true" && text != "false" {
			return v, "true or false", ""
		}
		return protoreflect.ValueOfBool(text == "true"), "", ""
	case protoreflect.EnumKind:
		if n, ok := enumNumber(fd.Enum(), text); ok {
			return protoreflect.ValueOfEnum(n), "", ""
		}
		return v, "a name of " + string(fd.Enum().Name()), nearest.Name(text, enumNames(fd.Enum()))
	case protoreflect.MessageKind:
		return literalMessage(fd, l)
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return v, "a number", ""
		}
		return floatValue(fd, x), "", ""
	}
	i, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return v, "a whole number", ""
	}
	if v, ok = integerValue(fd, i); !ok {
		return v, "a whole number in the range of " + fd.Kind().String(), ""
	}
	return v, "", ""
}

func literalMessage(fd protoreflect.FieldDescriptor, l *Literal) (v protoreflect.Value, why, near string) {
	text := l.Text
	switch fd.Message().FullName() {
	case "google.protobuf.Timestamp":
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return v, "a time such as 2026-01-31T12:00:00Z", ""
		}
		return protoreflect.ValueOfMessage(timestamppb.New(t).ProtoReflect()), "", ""
	case "google.protobuf.Duration":
		d, err := time.ParseDuration(text)
		if err != nil {
			return v, "a duration such as 90s", ""
		}
		return protoreflect.ValueOfMessage(durationpb.New(d).ProtoReflect()), "", ""
	case "plantloom.event.v1.Quantity":
		value, code, _ := strings.Cut(text, " ")
		u, err := unit.Parse(strings.TrimSpace(code))
		if _, ok := formula.ParseDecimal(value); !ok || err != nil || u.Code() == "" {
			return v, `a number with its unit, such as "12 C62"`, ""
		}
		return quantity(value, u.Code()), "", ""
	case "plantloom.event.v1.Value":
		return protoreflect.ValueOfMessage(literalValue(l).ProtoReflect()), "", ""
	}
	return v, "fields below it", ""
}

// literalValue decodes a literal that may be of any type: quoted text stays text.
func literalValue(l *Literal) *eventv1.Value {
	if !l.Quoted {
		switch {
		case l.Text == "true" || l.Text == "false":
			return &eventv1.Value{Kind: &eventv1.Value_BoolValue{BoolValue: l.Text == "true"}}
		case strings.HasPrefix(l.Text, "0") && len(l.Text) > 1 && l.Text[1] != '.':
			// 0017 is a number with its zeros: text
		default:
			if i, err := strconv.ParseInt(l.Text, 10, 64); err == nil {
				return &eventv1.Value{Kind: &eventv1.Value_IntValue{IntValue: i}}
			}
			if _, ok := formula.ParseDecimal(l.Text); ok {
				return &eventv1.Value{Kind: &eventv1.Value_DecimalValue{DecimalValue: l.Text}}
			}
		}
	}
	return &eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: l.Text}}
}

func quantity(value, unit string) protoreflect.Value {
	return protoreflect.ValueOfMessage((&eventv1.Quantity{Value: value, UnitCode: unit}).ProtoReflect())
}

func enumNumber(d protoreflect.EnumDescriptor, name string) (protoreflect.EnumNumber, bool) {
	prefix := formula.EnumPrefix(d)
	v := d.Values().ByName(protoreflect.Name(prefix + strings.TrimPrefix(name, prefix)))
	if v == nil || v.Number() == 0 {
		return 0, false
	}
	return v.Number(), true
}

func enumNames(d protoreflect.EnumDescriptor) (names []string) {
	for i := 1; i < d.Values().Len(); i++ {
		names = append(names, formula.EnumName(d, d.Values().Get(i).Number()))
	}
	return names
}

// integerValue makes the value of an integer field; ok is false when it does not fit.
func integerValue(fd protoreflect.FieldDescriptor, i *big.Int) (v protoreflect.Value, ok bool) {
	switch fd.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(i.Int64())), i.IsInt64() && i.Int64() == int64(int32(i.Int64()))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(i.Int64()), i.IsInt64()
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(i.Uint64())), i.IsUint64() && i.Uint64() <= math.MaxUint32
	}
	return protoreflect.ValueOfUint64(i.Uint64()), i.IsUint64()
}

func floatValue(fd protoreflect.FieldDescriptor, x float64) protoreflect.Value {
	if fd.Kind() == protoreflect.FloatKind {
		return protoreflect.ValueOfFloat32(float32(x))
	}
	return protoreflect.ValueOfFloat64(x)
}
