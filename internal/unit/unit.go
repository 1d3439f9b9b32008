// Package unit knows units of measure: it reads UCUM codes ("mm", "[lbf_av].[in_i]",
// "m3/h", "Cel") and UNECE Recommendation 20 codes ("MMT", "NU", "CEL"), tells which
// fit together, converts between them and names the UNECE code that events carry.
//
// Ratios are exact rational numbers as their definitions give them; only the result
// of a conversion is rounded, and that of ConvertRat is not. It covers the units of a plant, not all of UCUM: no
// logarithmic, no arbitrary and no clinical units. It does no I/O, keeps no state and
// imports the standard library and internal/nearest only, so that everybody, the pure mapping engine
// included, may import it.
package unit

import (
	"fmt"
	"math/big"
	"strings"
)

// Unit is a unit of measure. The zero value is the number one without a code.
// Units compare with Equal, not with ==.
type Unit struct {
	text   string   // as it was written
	code   string   // UNECE Rec. 20, empty when there is none
	dim    dim      // exponents of the base units
	factor *big.Rat // to the base units; nil is 1
	offset *big.Rat // added before the factor: K = (Cel + 273.15) * 1; nil is 0
}

// The base units are those of UCUM, with the ampere for the coulomb.
type dim [8]int8

var baseNames = [8]string{"m", "kg", "s", "K", "A", "mol", "cd", "rad"}

// Code returns the UNECE Rec. 20 code, "" when Rec. 20 has none for this unit.
func (u Unit) Code() string { return u.code }

// String returns the unit as it was written.
func (u Unit) String() string { return u.text }

// Dimension names the dimension in base units, for messages: "kg·m2·s-2", or "1"
// for counts and ratios.
func (u Unit) Dimension() string {
	var parts []string
	for i, e := range u.dim {
		switch {
		case e == 1:
			parts = append(parts, baseNames[i])
		case e != 0:
			parts = append(parts, fmt.Sprintf("%s%d", baseNames[i], e))
		}
	}
	if len(parts) == 0 {
		return "1"
	}
	return strings.Join(parts, "·")
}

// Compatible says whether values can be converted between a and b. Torque and
// energy have the same dimension and are compatible, as in UCUM.
func Compatible(a, b Unit) bool { return a.dim == b.dim }

// Equal says whether a value means the same in a and in b.
func (u Unit) Equal(o Unit) bool {
	return u.dim == o.dim && u.ratio().Cmp(o.ratio()) == 0 && u.zero().Cmp(o.zero()) == 0
}

func (u Unit) ratio() *big.Rat {
	if u.factor == nil {
		return big.NewRat(1, 1)
	}
	return u.factor
}

func (u Unit) zero() *big.Rat {
	if u.offset == nil {
		return new(big.Rat)
	}
	return u.offset
}

// IncompatibleError says that two units measure different things.
type IncompatibleError struct{ From, To Unit }

func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("%s (%s) cannot be converted to %s (%s)", e.From, e.From.Dimension(), e.To, e.To.Dimension())
}

// Conversion turns values of one unit into another. It is made once and used for
// every value; the zero Conversion changes nothing.
type Conversion struct {
	before, multiply, divide, after float64
	valid                           bool
}

// NewConversion returns the conversion, or an *IncompatibleError.
func NewConversion(from, to Unit) (Conversion, error) {
	if !Compatible(from, to) {
		return Conversion{}, &IncompatibleError{From: from, To: to}
	}
	// to = (value + from.zero) * ratio - to.zero
	ratio := new(big.Rat).Quo(from.ratio(), to.ratio())
	c := Conversion{multiply: 1, divide: 1, valid: true}
	num, numExact := new(big.Rat).SetInt(ratio.Num()).Float64()
	den, denExact := new(big.Rat).SetInt(ratio.Denom()).Float64()
	if numExact && denExact {
		c.multiply, c.divide = num, den
	} else {
		c.multiply, _ = ratio.Float64()
	}
	// The two offsets become one, on the side where it is an exact float64:
	// 9/5 * Cel + 32, and 5/9 * ([degF] - 32).
	before := new(big.Rat).Sub(from.zero(), new(big.Rat).Quo(to.zero(), ratio))
	if f, exact := before.Float64(); exact {
		c.before = f
	} else {
		c.after, _ = new(big.Rat).Mul(before, ratio).Float64()
	}
	return c, nil
}

// Apply converts a value. The intermediate results are rounded separately, so that
// every processor gives the same bits.
func (c Conversion) Apply(v float64) float64 {
	if !c.valid {
		return v
	}
	shifted := float64(v + c.before)
	scaled := float64(float64(shifted*c.multiply) / c.divide)
	return float64(scaled + c.after)
}

// Convert converts one value, or returns an *IncompatibleError. For many values,
// NewConversion does the work once.
func Convert(v float64, from, to Unit) (float64, error) {
	c, err := NewConversion(from, to)
	if err != nil {
		return 0, err
	}
	return c.Apply(v), nil
}

// ConvertRat converts one value without rounding, or returns an *IncompatibleError.
// Only where pi is in the ratio, as from deg to rad, the result is as near as pi is
// here. The value stays as it is, and the result is the caller's.
func ConvertRat(v *big.Rat, from, to Unit) (*big.Rat, error) {
	if !Compatible(from, to) {
		return nil, &IncompatibleError{From: from, To: to}
	}
	out := new(big.Rat).Add(v, from.zero())
	out.Mul(out, from.ratio()).Quo(out, to.ratio())
	return out.Sub(out, to.zero()), nil
}
