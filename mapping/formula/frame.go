package formula

import (
	"math"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plantloom/plantloom/pipeline"
)

// Frame holds the values that formulas read. The engine keeps one per machine and fills it; formulas only read it,
// except for Status and Overflows.
type Frame struct {
	Slots   []Slot
	Objects []protoreflect.Message // nil: there is none

	// Status is the worst of what evaluation itself met: division by zero, overflow. The caller clears it.
	Status    pipeline.Quality
	Overflows int
}

// Slot is one value. The number stands in Bits as its type has it: int64 and time in ns since 1970, uint64, the bits
// of a float64, or 1 for true.
type Slot struct {
	Bits uint64
	Text string
	OK   bool  // there is a value
	At   int64 // source time of the value, ns since 1970; 0: never seen
	// Status is the quality with which a formula sees the value, Raw the one that the newest sample had.
	Status, Raw pipeline.Quality
}

// SetBool, SetInt and the others store a value and leave status and time.
func (s *Slot) SetBool(v bool) {
	s.Bits, s.Text, s.OK = 0, "", true
	if v {
		s.Bits = 1
	}
}

// SetInt stores an integer, or a time in ns since 1970.
func (s *Slot) SetInt(v int64) { s.Bits, s.Text, s.OK = uint64(v), "", true }

// SetUint stores an unsigned integer.
func (s *Slot) SetUint(v uint64) { s.Bits, s.Text, s.OK = v, "", true }

// SetFloat stores a number; NaN and infinities are no value.
func (s *Slot) SetFloat(v float64) {
	s.Bits, s.Text, s.OK = math.Float64bits(v), "", !math.IsNaN(v) && !math.IsInf(v, 0)
}

// SetText stores text.
func (s *Slot) SetText(v string) { s.Bits, s.Text, s.OK = 0, v, true }

// Clear makes the value null.
func (s *Slot) Clear() { s.Bits, s.Text, s.OK = 0, "", false }

// Set stores a value of the kind that the slot has; a value of another kind is null.
func (s *Slot) Set(k Kind, v pipeline.Value) {
	switch {
	case k == Bool && v.Type() == pipeline.TypeBool:
		s.SetBool(v.AsBool())
	case k == Int && v.Type() == pipeline.TypeInt, k == Time && v.Type() == pipeline.TypeTime:
		s.SetInt(v.AsInt())
	case k == Uint && v.Type() == pipeline.TypeUint:
		s.SetUint(v.AsUint())
	case k == Float && v.Type() == pipeline.TypeDouble:
		s.SetFloat(v.AsDouble())
	case k == Text && v.Type() == pipeline.TypeText:
		s.SetText(v.AsText())
	default:
		s.Clear()
	}
}

// Value returns the slot's value, null when there is none.
func (s *Slot) Value(k Kind) pipeline.Value {
	if !s.OK {
		return pipeline.Null()
	}
	switch k {
	case Bool:
		return pipeline.Bool(s.Bits == 1)
	case Int:
		return pipeline.Int(int64(s.Bits))
	case Uint:
		return pipeline.Uint(s.Bits)
	case Float:
		return pipeline.Double(math.Float64frombits(s.Bits))
	case Text:
		return pipeline.Text(s.Text)
	case Time:
		return pipeline.Time(time.Unix(0, int64(s.Bits)))
	}
	return pipeline.Null()
}

// undefined notes a result that has no value: a division by zero, an overflow.
func (f *Frame) undefined() {
	f.Overflows++
	f.Status = f.Status.Worse(pipeline.BadOutOfRange)
}
