package pipeline

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Type is the type of a Value. The numbers are those of ValueType of the inbox proto.
type Type uint8

// The types of tag values. Arrays and structures travel as JSON text.
const (
	TypeNull   Type = 1
	TypeBool   Type = 2
	TypeInt    Type = 3
	TypeUint   Type = 4
	TypeFloat  Type = 5 // float32, kept as such so that its decimal text is right
	TypeDouble Type = 6
	TypeText   Type = 7
	TypeBytes  Type = 8
	TypeTime   Type = 9
	TypeJSON   Type = 10
)

// Value is a tag's value: a type, 64 bits, and text where the type needs it. The zero Value is null.
// Making one of a number or a string allocates nothing. Values compare with ==; NaN is equal to itself bit by bit.
type Value struct {
	kind Type
	num  uint64
	text string
}

// Null is the absent value, as a Bad status often brings it.
func Null() Value { return Value{} }

// Bool makes a boolean value.
func Bool(v bool) Value {
	if v {
		return Value{kind: TypeBool, num: 1}
	}
	return Value{kind: TypeBool}
}

// Int makes a signed value; all 64 bits are kept.
func Int(v int64) Value { return Value{kind: TypeInt, num: uint64(v)} }

// Uint makes an unsigned value; all 64 bits are kept.
func Uint(v uint64) Value { return Value{kind: TypeUint, num: v} }

// Float makes a value of a 32 bit float.
func Float(v float32) Value { return Value{kind: TypeFloat, num: uint64(math.Float32bits(v))} }

// Double makes a value of a 64 bit float.
func Double(v float64) Value { return Value{kind: TypeDouble, num: math.Float64bits(v)} }

// Text makes a text value.
func Text(v string) Value { return Value{kind: TypeText, text: v} }

// Bytes makes a value of raw bytes; v is copied.
func Bytes(v []byte) Value { return Value{kind: TypeBytes, text: string(v)} }

// Time makes a time value with nanoseconds, UTC.
func Time(v time.Time) Value { return Value{kind: TypeTime, num: uint64(v.UnixNano())} }

// JSON makes a value of an array or a structure, given as JSON text.
func JSON(v string) Value { return Value{kind: TypeJSON, text: v} }

// Type returns the value's type.
func (v Value) Type() Type {
	if v.kind == 0 {
		return TypeNull
	}
	return v.kind
}

// IsNull reports whether there is no value.
func (v Value) IsNull() bool { return v.Type() == TypeNull }

// AsBool returns a boolean's value, false for other types.
func (v Value) AsBool() bool { return v.kind == TypeBool && v.num == 1 }

// AsInt returns an Int, Uint (as its bits) or Time (ns since 1970) value.
func (v Value) AsInt() int64 { return int64(v.num) }

// AsUint returns a Uint's value, or the bits of another number.
func (v Value) AsUint() uint64 { return v.num }

// AsDouble returns any number as a float64; integers beyond 2^53 lose digits; other types are NaN.
func (v Value) AsDouble() float64 {
	switch v.kind {
	case TypeInt, TypeTime:
		return float64(int64(v.num))
	case TypeUint:
		return float64(v.num)
	case TypeFloat:
		return float64(math.Float32frombits(uint32(v.num)))
	case TypeDouble:
		return math.Float64frombits(v.num)
	case TypeBool:
		return float64(v.num)
	}
	return math.NaN()
}

// AsText returns the text of a Text, JSON or Bytes value, "" for other types.
func (v Value) AsText() string { return v.text }

// AsTime returns a Time's value.
func (v Value) AsTime() time.Time { return time.Unix(0, int64(v.num)).UTC() }

// String renders the value for people and logs.
func (v Value) String() string {
	switch v.Type() {
	case TypeNull:
		return "null"
	case TypeBool:
		return strconv.FormatBool(v.num == 1)
	case TypeInt:
		return strconv.FormatInt(int64(v.num), 10)
	case TypeUint:
		return strconv.FormatUint(v.num, 10)
	case TypeFloat:
		return strconv.FormatFloat(v.AsDouble(), 'g', -1, 32)
	case TypeDouble:
		return strconv.FormatFloat(v.AsDouble(), 'g', -1, 64)
	case TypeBytes:
		return fmt.Sprintf("%x", v.text)
	case TypeTime:
		return v.AsTime().Format(time.RFC3339Nano)
	}
	return v.text
}
