package formula

import (
	"math"
	"math/big"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

func asBool(e *Expr) BoolFunc {
	if e.Kind == Null {
		return func(*Frame) (bool, bool) { return false, false }
	}
	return e.Bool
}

// asInt reads an int or a uint; a uint beyond int64 is undefined, not negative.
func asInt(e *Expr) IntFunc {
	if e.Kind == Int || e.Kind == Time {
		return e.Int
	}
	x := e.Uint
	return func(f *Frame) (int64, bool) {
		v, ok := x(f)
		if ok && v > math.MaxInt64 {
			f.undefined()
			return 0, false
		}
		return int64(v), ok
	}
}

func asFloat(e *Expr) FloatFunc {
	switch e.Kind {
	case Int:
		x := e.Int
		if e.number != nil {
			v := float64(e.number.i)
			return func(*Frame) (float64, bool) { return v, true }
		}
		return func(f *Frame) (float64, bool) { v, ok := x(f); return float64(v), ok }
	case Uint:
		x := e.Uint
		return func(f *Frame) (float64, bool) { v, ok := x(f); return float64(v), ok }
	}
	return e.Float
}

func derive(e *Expr, k Kind) *Expr {
	return &Expr{Kind: k, Unit: e.Unit, Offset: e.Offset, slot: -1, cost: e.cost}
}

func intExpr(e *Expr) *Expr {
	if e.Kind == Int {
		return e
	}
	out := derive(e, Int)
	out.Int = asInt(e)
	return out
}

func floatExpr(e *Expr) *Expr {
	if e.Kind == Float {
		return e
	}
	if e.number != nil {
		return floatLiteral(float64(e.number.i), e.Offset)
	}
	out := derive(e, Float)
	out.Float = asFloat(e)
	return out
}

func uintLiteral(e *Expr) *Expr {
	v := uint64(e.number.i)
	out := derive(e, Uint)
	out.Uint = func(*Frame) (uint64, bool) { return v, true }
	return out
}

// quantityAsFloat reads the decimal text of a Quantity as a number.
func quantityAsFloat(e *Expr) *Expr {
	m := e.Message
	out := derive(e, Float)
	out.Float = func(f *Frame) (float64, bool) {
		text, _, ok := QuantityOf(m(f))
		if !ok {
			return 0, false
		}
		v, ok := ParseDecimal(text)
		if !ok {
			return 0, false
		}
		x, _ := v.Float64()
		return x, !math.IsInf(x, 0)
	}
	return out
}

// QuantityOf returns the decimal text and the unit code of a Quantity message.
func QuantityOf(m protoreflect.Message) (value, unit string, ok bool) {
	if m == nil {
		return "", "", false
	}
	fields := m.Descriptor().Fields()
	value = m.Get(fields.ByNumber(1)).String()
	return value, m.Get(fields.ByNumber(2)).String(), value != ""
}

// ParseDecimal reads decimal text without an exponent, of 64 characters at most.
func ParseDecimal(text string) (*big.Rat, bool) {
	if len(text) == 0 || len(text) > 64 || strings.Trim(text, "0123456789.+-") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

func addInt(f *Frame, a, b int64, ok bool) (int64, bool) {
	s := a + b
	if ok && (s > a) != (b > 0) && b != 0 {
		f.undefined()
		return 0, false
	}
	return s, ok
}

func subInt(f *Frame, a, b int64, ok bool) (int64, bool) {
	s := a - b
	if ok && (s < a) != (b > 0) && b != 0 {
		f.undefined()
		return 0, false
	}
	return s, ok
}

func mulInt(f *Frame, a, b int64, ok bool) (int64, bool) {
	p := a * b
	if ok && a != 0 && (p/a != b || (a == -1 && b == math.MinInt64)) {
		f.undefined()
		return 0, false
	}
	return p, ok
}

func modInt(f *Frame, a, b int64, ok bool) (int64, bool) {
	if !ok {
		return 0, false
	}
	if b == 0 {
		f.undefined()
		return 0, false
	}
	if b == -1 { // MinInt64 % -1 traps on some processors
		return 0, true
	}
	return a % b, true
}
