package http

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// maxMessageDepth bounds how deep the fields of an event are typed; what is
// deeper, as in recursive messages, is checked when it is evaluated.
const maxMessageDepth = 8

// eventMessages are the business events, by the short names that Event.Type
// carries.
func eventMessages() map[string]protoreflect.MessageType {
	out := map[string]protoreflect.MessageType{}
	for _, f := range []protoreflect.FileDescriptor{
		eventv1.File_plantloom_event_v1_production_proto, eventv1.File_plantloom_event_v1_quality_proto,
		eventv1.File_plantloom_event_v1_equipment_proto,
	} {
		for i := range f.Messages().Len() {
			d := f.Messages().Get(i)
			if d.Fields().ByName("header") == nil {
				continue
			}
			if t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName()); err == nil {
				out[string(d.Name())] = t
			}
		}
	}
	return out
}

// typeEnum is the enumeration of an event's type field, nil when it has none.
func typeEnum(d protoreflect.MessageDescriptor) protoreflect.EnumDescriptor {
	f := d.Fields().ByName("type")
	if f == nil || f.Kind() != protoreflect.EnumKind {
		return nil
	}
	return f.Enum()
}

// shortNames lists the values of an enumeration as formulas see them.
func shortNames(d protoreflect.EnumDescriptor) []string {
	var out []string
	for i := range d.Values().Len() {
		out = append(out, shortName(d, d.Values().Get(i).Number()))
	}
	return out
}

// shortName drops the prefix that protobuf style puts before each value:
// PRODUCTION_ORDER_EVENT_TYPE_PROGRESS is PROGRESS. A number without a name is
// its decimal text.
func shortName(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	v := d.Values().ByNumber(n)
	if v == nil {
		return strconv.Itoa(int(n))
	}
	return strings.TrimPrefix(string(v.Name()), enumPrefix(d))
}

// enumPrefix is the upper snake case of the enumeration's name.
func enumPrefix(d protoreflect.EnumDescriptor) string {
	unspecified := string(d.Values().Get(0).Name())
	return strings.TrimSuffix(unspecified, "UNSPECIFIED")
}

// messageType is the type that formulas see for a message.
func messageType(d protoreflect.MessageDescriptor, depth int) types.Type {
	switch d.FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration":
		return types.String
	case "plantloom.event.v1.Value":
		return types.Any
	}
	if depth == 0 {
		return types.Any
	}
	out := types.Map{}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		t := fieldType(f, depth-1)
		switch {
		case f.IsMap():
			t = types.Any
		case f.IsList():
			t = types.Array(t)
		}
		out[string(f.Name())] = t
	}
	return out
}

func fieldType(f protoreflect.FieldDescriptor, depth int) types.Type {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return messageType(f.Message(), depth)
	case protoreflect.BoolKind:
		return types.Bool
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return types.Float64
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.EnumKind:
		return types.String
	default:
		return types.Int
	}
}

// messageValue is what formulas see of a message: fields by their proto names,
// absent messages and absent optional fields as nil, times as RFC 3339 text in
// UTC, durations as decimal seconds, quantities untouched.
func messageValue(m protoreflect.Message) (any, error) {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		if err := v.CheckValid(); err != nil {
			return nil, fmt.Errorf("reading a time: %w", err)
		}
		return v.AsTime().Format(time.RFC3339Nano), nil
	case *durationpb.Duration:
		if err := v.CheckValid(); err != nil {
			return nil, fmt.Errorf("reading a duration: %w", err)
		}
		return seconds(v.AsDuration()), nil
	case *eventv1.Value:
		return valueOf(v)
	}
	out := map[string]any{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		value, err := fieldValue(m, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		out[string(f.Name())] = value
	}
	return out, nil
}

func fieldValue(m protoreflect.Message, f protoreflect.FieldDescriptor) (any, error) {
	switch {
	case f.IsMap():
		out := map[string]any{}
		var err error
		m.Get(f).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			out[k.String()], err = scalarValue(f.MapValue(), v)
			return err == nil
		})
		return out, err
	case f.IsList():
		list := m.Get(f).List()
		out := make([]any, list.Len())
		for i := range out {
			v, err := scalarValue(f, list.Get(i))
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	case f.HasPresence() && !m.Has(f):
		return nil, nil
	}
	return scalarValue(f, m.Get(f))
}

func scalarValue(f protoreflect.FieldDescriptor, v protoreflect.Value) (any, error) {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return messageValue(v.Message())
	case protoreflect.EnumKind:
		return shortName(f.Enum(), v.Enum()), nil
	case protoreflect.BytesKind:
		return base64.StdEncoding.EncodeToString(v.Bytes()), nil
	case protoreflect.BoolKind, protoreflect.StringKind:
		return v.Interface(), nil
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return v.Float(), nil
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		if v.Uint() > math.MaxInt64 {
			return nil, fmt.Errorf("%d is too large for a formula", v.Uint())
		}
		return int(v.Uint()), nil
	default:
		return int(v.Int()), nil
	}
}

// valueOf is a tag's or parameter's value without its wrapper. Decimals stay text.
func valueOf(v *eventv1.Value) (any, error) {
	switch k := v.GetKind().(type) {
	case nil:
		return nil, nil
	case *eventv1.Value_UintValue:
		if k.UintValue > math.MaxInt64 {
			return strconv.FormatUint(k.UintValue, 10), nil
		}
		return int(k.UintValue), nil
	case *eventv1.Value_ListValue:
		out := []any{}
		for _, element := range k.ListValue.GetValues() {
			e, err := valueOf(element)
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		return out, nil
	}
	m := v.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	return scalarValue(f, m.Get(f))
}

// seconds is exact decimal text.
func seconds(d time.Duration) string {
	sign := ""
	whole, nanos := int64(d/time.Second), int64(d%time.Second)
	if d < 0 {
		sign, whole, nanos = "-", -whole, -nanos
	}
	text := fmt.Sprintf("%s%d.%09d", sign, whole, nanos)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// eventScope is what formulas over an event may name.
func eventScope(d protoreflect.MessageDescriptor) scope {
	return scope{
		"e":         messageType(d, maxMessageDepth),
		"effect_id": types.String,
		"key":       types.String,
		"revision":  types.Int,
	}
}

// answerScope is what formulas over an answer may name.
func answerScope() scope {
	return scope{"status": types.Int, "answer": types.Any, "text": types.String, "sent": types.Any}
}

// eventEnv decodes an event for formulas. It also returns the short name of
// its type, "" when the message has none.
func eventEnv(e pipeline.Event, t protoreflect.MessageType) (env map[string]any, typ string, err error) {
	m := t.New()
	if err := proto.Unmarshal(e.Body, m.Interface()); err != nil {
		return nil, "", fmt.Errorf("reading the body of %s %s: %w", e.Type, e.ID, err)
	}
	value, err := messageValue(m)
	if err != nil {
		return nil, "", fmt.Errorf("reading %s %s: %w", e.Type, e.ID, err)
	}
	if enum := typeEnum(t.Descriptor()); enum != nil {
		typ = shortName(enum, m.Get(t.Descriptor().Fields().ByName("type")).Enum())
	}
	return map[string]any{"e": value, "effect_id": e.EffectID(), "key": e.Key, "revision": int(e.Revision)}, typ, nil
}

// takes says whether a route's list of types contains typ; an empty one takes all.
func takes(list []string, typ string) bool { return len(list) == 0 || slices.Contains(list, typ) }
