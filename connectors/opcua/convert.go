package opcua

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"github.com/gopcua/opcua/ua"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
)

// nodeType is what may be written to a node.
type nodeType struct {
	node  *ua.NodeID
	id    ua.TypeID
	array bool
}

// goTypes are the Go types that the library encodes as each built-in type.
func goType(id ua.TypeID) reflect.Type {
	switch id {
	case ua.TypeIDBoolean:
		return reflect.TypeFor[bool]()
	case ua.TypeIDSByte:
		return reflect.TypeFor[int8]()
	case ua.TypeIDByte:
		return reflect.TypeFor[uint8]()
	case ua.TypeIDInt16:
		return reflect.TypeFor[int16]()
	case ua.TypeIDUint16:
		return reflect.TypeFor[uint16]()
	case ua.TypeIDInt32:
		return reflect.TypeFor[int32]()
	case ua.TypeIDUint32:
		return reflect.TypeFor[uint32]()
	case ua.TypeIDInt64:
		return reflect.TypeFor[int64]()
	case ua.TypeIDUint64:
		return reflect.TypeFor[uint64]()
	case ua.TypeIDFloat:
		return reflect.TypeFor[float32]()
	case ua.TypeIDDouble:
		return reflect.TypeFor[float64]()
	case ua.TypeIDString:
		return reflect.TypeFor[string]()
	case ua.TypeIDDateTime:
		return reflect.TypeFor[time.Time]()
	case ua.TypeIDByteString:
		return reflect.TypeFor[[]byte]()
	case ua.TypeIDLocalizedText:
		return reflect.TypeFor[*ua.LocalizedText]()
	}
	return nil
}

var errRange = errors.New("out of the node's range")

// convert makes the value that a node of type t takes. Nothing is rounded or cut: what does not fit is an error.
func convert(v *eventv1.Value, t nodeType) (*ua.Variant, error) {
	list, isList := v.GetKind().(*eventv1.Value_ListValue)
	if isList != t.array {
		return nil, fmt.Errorf("the node is a %s and the value is not", map[bool]string{true: "list", false: "single value"}[t.array])
	}
	if !isList {
		x, err := scalar(v, t.id)
		if err != nil {
			return nil, err
		}
		return ua.NewVariant(x.Interface())
	}
	typ := goType(t.id)
	if typ == nil {
		return nil, fmt.Errorf("nodes of type %v cannot be written", t.id)
	}
	values := list.ListValue.GetValues()
	slice := reflect.MakeSlice(reflect.SliceOf(typ), 0, len(values))
	for i, e := range values {
		x, err := scalar(e, t.id)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		slice = reflect.Append(slice, x)
	}
	if t.id == ua.TypeIDByte {
		return ua.NewVariant(ua.ByteArray(slice.Bytes()))
	}
	return ua.NewVariant(slice.Interface())
}

func scalar(v *eventv1.Value, id ua.TypeID) (reflect.Value, error) {
	typ := goType(id)
	if typ == nil {
		return reflect.Value{}, fmt.Errorf("nodes of type %v cannot be written", id)
	}
	out := reflect.New(typ).Elem()
	switch id {
	case ua.TypeIDBoolean:
		b, ok := v.GetKind().(*eventv1.Value_BoolValue)
		if !ok {
			return out, fmt.Errorf("%s is not true or false", render(v))
		}
		out.SetBool(b.BoolValue)
		return out, nil
	case ua.TypeIDString, ua.TypeIDLocalizedText:
		s, err := text(v)
		if err != nil {
			return out, err
		}
		if id == ua.TypeIDString {
			out.SetString(s)
		} else {
			out.Set(reflect.ValueOf(ua.NewLocalizedText(s)))
		}
		return out, nil
	case ua.TypeIDDateTime:
		return out, setTime(out, v)
	case ua.TypeIDByteString:
		b, ok := v.GetKind().(*eventv1.Value_BytesValue)
		if !ok {
			return out, fmt.Errorf("%s is not bytes", render(v))
		}
		out.SetBytes(b.BytesValue)
		return out, nil
	}
	n, err := number(v)
	if err != nil {
		return out, err
	}
	return out, setNumber(out, n)
}

func setTime(out reflect.Value, v *eventv1.Value) error {
	t, ok := v.GetKind().(*eventv1.Value_TimeValue)
	if !ok || !t.TimeValue.IsValid() {
		return fmt.Errorf("%s is not a time", render(v))
	}
	at := t.TimeValue.AsTime()
	if y := at.Year(); y < 1678 || y > 2261 {
		return fmt.Errorf("%v: %w", at, errRange)
	}
	out.Set(reflect.ValueOf(at.Truncate(resolution)))
	return nil
}

// setNumber stores n exactly; floats take the nearest value, as their decimal text means it.
func setNumber(out reflect.Value, n *big.Rat) error {
	fits := false
	switch {
	case out.CanFloat():
		f, _ := n.Float64()
		if fits = !math.IsInf(f, 0) && !out.OverflowFloat(f); fits {
			if out.Kind() == reflect.Float32 {
				narrow, _ := n.Float32() // once, not by way of 64 bits
				f = float64(narrow)
			}
			out.SetFloat(f)
		}
	case !n.IsInt():
		return fmt.Errorf("%s is not a whole number", n.FloatString(6))
	case out.CanInt():
		if fits = n.Num().IsInt64() && !out.OverflowInt(n.Num().Int64()); fits {
			out.SetInt(n.Num().Int64())
		}
	case out.CanUint():
		if fits = n.Num().IsUint64() && !out.OverflowUint(n.Num().Uint64()); fits {
			out.SetUint(n.Num().Uint64())
		}
	}
	if !fits {
		return fmt.Errorf("%s: %w (%s)", n.RatString(), errRange, out.Kind())
	}
	return nil
}

// plainDecimal keeps exponents out, which would make numbers of any length.
var plainDecimal = regexp.MustCompile(`^-?[0-9]{1,40}(\.[0-9]{1,40})?$`)

func number(v *eventv1.Value) (*big.Rat, error) {
	switch k := v.GetKind().(type) {
	case *eventv1.Value_IntValue:
		return new(big.Rat).SetInt64(k.IntValue), nil
	case *eventv1.Value_UintValue:
		return new(big.Rat).SetUint64(k.UintValue), nil
	case *eventv1.Value_DoubleValue:
		if n := new(big.Rat).SetFloat64(k.DoubleValue); n != nil {
			return n, nil
		}
	case *eventv1.Value_DecimalValue:
		if plainDecimal.MatchString(k.DecimalValue) {
			n, _ := new(big.Rat).SetString(k.DecimalValue)
			return n, nil
		}
	case *eventv1.Value_DurationValue: // the standard's Duration counts milliseconds
		return big.NewRat(k.DurationValue.AsDuration().Nanoseconds(), int64(time.Millisecond)), nil
	}
	return nil, fmt.Errorf("%s is not a number", render(v))
}

func text(v *eventv1.Value) (string, error) {
	switch k := v.GetKind().(type) {
	case *eventv1.Value_StringValue:
		return k.StringValue, nil
	case *eventv1.Value_DecimalValue:
		return k.DecimalValue, nil
	case *eventv1.Value_IntValue:
		return strconv.FormatInt(k.IntValue, 10), nil
	case *eventv1.Value_UintValue:
		return strconv.FormatUint(k.UintValue, 10), nil
	}
	return "", fmt.Errorf("%s is not text", render(v))
}

// render shows a value in messages, shortened.
func render(v *eventv1.Value) string {
	s := v.String()
	if len(s) > 60 {
		s = s[:60] + "..."
	}
	if s == "" {
		return "no value"
	}
	return s
}
