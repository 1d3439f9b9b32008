package http

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/internal/conf"
)

const (
	valueName     = "plantloom.event.v1.Value"
	timestampName = "google.protobuf.Timestamp"
	durationName  = "google.protobuf.Duration"
)

// settable says whether a single value can fill the field.
func settable(f protoreflect.FieldDescriptor) bool {
	if f.Message() == nil {
		return f.Kind() != protoreflect.BytesKind
	}
	switch f.Message().FullName() {
	case valueName, timestampName, durationName:
		return true
	}
	return false
}

// isDecimal says whether a text field holds a decimal number by its contract.
func isDecimal(f protoreflect.FieldDescriptor) bool {
	switch f.FullName() {
	case "plantloom.event.v1.Quantity.value", "plantloom.event.v1.Value.decimal_value",
		"plantloom.event.v1.ProductionOrder.under_tolerance_percent", "plantloom.event.v1.ProductionOrder.over_tolerance_percent":
		return true
	}
	return false
}

// convert makes a protobuf value of what a formula or a literal gives. It is
// strict: what does not fit is an error, never a near value.
func convert(f protoreflect.FieldDescriptor, given any) (protoreflect.Value, error) {
	if f.Message() != nil {
		return convertMessage(f, given)
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		return convertText(f, given)
	case protoreflect.BoolKind:
		if b, ok := given.(bool); ok {
			return protoreflect.ValueOfBool(b), nil
		}
	case protoreflect.EnumKind:
		return convertEnum(f.Enum(), given)
	case protoreflect.DoubleKind:
		if text, err := plainText(given); err == nil {
			if d, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(d, 0) && !math.IsNaN(d) {
				return protoreflect.ValueOfFloat64(d), nil
			}
		}
	default:
		return convertInteger(f, given)
	}
	return protoreflect.Value{}, misfit(given, f.Kind().String())
}

func misfit(given any, want string) error { return fmt.Errorf("%#v is no %s", given, want) }

func convertText(f protoreflect.FieldDescriptor, given any) (protoreflect.Value, error) {
	if _, isBool := given.(bool); isBool {
		return protoreflect.Value{}, misfit(given, "text")
	}
	text, err := plainText(given)
	if err == nil && isDecimal(f) {
		text, err = canonicalDecimal(text)
	}
	return protoreflect.ValueOfString(text), err
}

func convertEnum(d protoreflect.EnumDescriptor, given any) (protoreflect.Value, error) {
	text, ok := given.(string)
	if ok {
		for i := range d.Values().Len() {
			if n := d.Values().Get(i).Number(); n != 0 && shortName(d, n) == text {
				return protoreflect.ValueOfEnum(n), nil
			}
		}
	}
	return protoreflect.Value{}, fmt.Errorf("%#v is none of %s", given, strings.Join(shortNames(d)[1:], ", "))
}

// convertInteger takes integers and their decimal text.
func convertInteger(f protoreflect.FieldDescriptor, given any) (protoreflect.Value, error) {
	text, isText := given.(string)
	if n, ok := given.(int); ok {
		text, isText = strconv.Itoa(n), true
	}
	if !isText {
		return protoreflect.Value{}, misfit(given, "integer")
	}
	switch f.Kind() {
	case protoreflect.Uint64Kind:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return protoreflect.Value{}, misfit(given, "integer from 0")
		}
		return protoreflect.ValueOfUint64(n), nil
	case protoreflect.Uint32Kind:
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return protoreflect.Value{}, misfit(given, "integer from 0 of 32 bits")
		}
		return protoreflect.ValueOfUint32(uint32(n)), nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return protoreflect.Value{}, misfit(given, "integer")
		}
		return protoreflect.ValueOfInt64(n), nil
	case protoreflect.Int32Kind:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return protoreflect.Value{}, misfit(given, "integer of 32 bits")
		}
		return protoreflect.ValueOfInt32(int32(n)), nil
	}
	return protoreflect.Value{}, fmt.Errorf("a field of type %s cannot be set", f.Kind())
}

// convertMessage fills the messages that stand for a single value.
func convertMessage(f protoreflect.FieldDescriptor, given any) (protoreflect.Value, error) {
	switch f.Message().FullName() {
	case timestampName:
		text, _ := given.(string)
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return protoreflect.Value{}, misfit(given, "time with zone such as 2030-01-02T03:04:05Z")
		}
		return protoreflect.ValueOfMessage(timestamppb.New(at).ProtoReflect()), nil
	case durationName:
		return convertDuration(given)
	case valueName:
		v, err := freeValue(given)
		if err != nil {
			return protoreflect.Value{}, err
		}
		return protoreflect.ValueOfMessage(v.ProtoReflect()), nil
	}
	return protoreflect.Value{}, misfit(given, string(f.Message().Name()))
}

// convertDuration takes whole seconds, or text with a unit.
func convertDuration(given any) (protoreflect.Value, error) {
	d := time.Duration(0)
	switch v := given.(type) {
	case int:
		if v > math.MaxInt64/int(time.Second) || v < math.MinInt64/int(time.Second) {
			return protoreflect.Value{}, misfit(given, "duration")
		}
		d = time.Duration(v) * time.Second
	case string:
		var err error
		if d, err = conf.ParseDuration(v); err != nil {
			return protoreflect.Value{}, err
		}
	default:
		return protoreflect.Value{}, misfit(given, "duration")
	}
	return protoreflect.ValueOfMessage(durationpb.New(d).ProtoReflect()), nil
}

// freeValue keeps the type that the peer gave. Numbers with a fraction are text
// here; {decimal_value: =...} makes them decimals.
func freeValue(given any) (*eventv1.Value, error) {
	switch v := given.(type) {
	case string:
		return &eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: v}}, nil
	case bool:
		return &eventv1.Value{Kind: &eventv1.Value_BoolValue{BoolValue: v}}, nil
	case int:
		return &eventv1.Value{Kind: &eventv1.Value_IntValue{IntValue: int64(v)}}, nil
	case float64:
		return &eventv1.Value{Kind: &eventv1.Value_DoubleValue{DoubleValue: v}}, nil
	}
	return nil, misfit(given, "single value")
}

// decimalText is a decimal without exponent.
var decimalText = regexp.MustCompile(`^-?[0-9]{1,30}(\.[0-9]{1,30})?$`)

// canonicalDecimal is decimal text without needless zeros: 012.500 is 12.5.
func canonicalDecimal(text string) (string, error) {
	if !decimalText.MatchString(text) {
		return "", fmt.Errorf("%q is no decimal number such as 12.5", text)
	}
	sign := ""
	if text[0] == '-' {
		sign, text = "-", text[1:]
	}
	whole, fraction, _ := strings.Cut(text, ".")
	whole = strings.TrimLeft(whole, "0")
	fraction = strings.TrimRight(fraction, "0")
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		return sign + whole + "." + fraction, nil
	}
	if whole == "0" {
		sign = ""
	}
	return sign + whole, nil
}
