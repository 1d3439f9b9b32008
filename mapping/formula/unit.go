package formula

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Unit is a unit of measure: a factor and an offset to the coherent unit of its dimension.
type Unit struct {
	// Code is the UNECE Rec. 20 code, empty when there is none.
	Code string
	// Name is what the mapping wrote.
	Name   string
	factor float64
	offset float64 // of the zero point, in the coherent unit; temperatures only
	dim    dimension
}

// dimension holds the exponents of metre, gram, second, ampere, kelvin, mole, candela and radian.
type dimension [8]int8

// ParseUnit reads a UNECE Rec. 20 code or a UCUM expression (case sensitive).
func ParseUnit(text string) (*Unit, error) {
	if text == "" || len(text) > 64 {
		return nil, fmt.Errorf("not a unit")
	}
	for _, u := range unece() {
		if u.code == text {
			unit, err := parseUCUM(u.ucum)
			if err != nil {
				return nil, err
			}
			unit.Code, unit.Name = text, text
			return unit, nil
		}
	}
	unit, err := parseUCUM(text)
	if err != nil {
		return nil, err
	}
	unit.Name, unit.Code = text, codeOf(text, unit)
	return unit, nil
}

// codeOf finds the UNECE code of a UCUM unit: by its text, else by its size.
func codeOf(text string, unit *Unit) string {
	for _, u := range unece() {
		if u.ucum == text {
			return u.code
		}
	}
	for _, u := range unece() {
		if other, err := parseUCUM(u.ucum); err == nil && other.dim == unit.dim && other.offset == unit.offset && closeTo(other.factor, unit.factor) {
			return u.code
		}
	}
	return ""
}

func closeTo(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Abs(a) }

// Like says whether values of the two units can be converted into one another.
func (u *Unit) Like(o *Unit) bool { return u.dim == o.dim }

// Same says whether a value means the same in both units.
func (u *Unit) Same(o *Unit) bool {
	return u.dim == o.dim && u.offset == o.offset && closeTo(u.factor, o.factor)
}

// Converter returns scale and shift with x*scale+shift turning a value of u into one of o, which must be like u.
func (u *Unit) Converter(o *Unit) (scale, shift float64) {
	return u.factor / o.factor, (u.offset - o.offset) / o.factor
}

// Convert turns a value of u into one of o, which must be like u. The product is rounded before the sum, so that
// every processor gives the same bits.
func (u *Unit) Convert(x float64, o *Unit) float64 {
	if u.Same(o) {
		return x
	}
	scale, shift := u.Converter(o)
	return float64(x*scale) + shift
}

// UnitNames are the UNECE codes that are known, for suggestions.
func UnitNames() (names []string) {
	for _, u := range unece() {
		names = append(names, u.code, u.ucum)
	}
	return names
}

// parseUCUM reads a product of unit atoms with prefixes, exponents, "/" and "{annotation}".
func parseUCUM(text string) (*Unit, error) {
	p := &ucum{text: text}
	u, err := p.product()
	if err != nil {
		return nil, err
	}
	if p.pos != len(text) {
		return nil, fmt.Errorf("%q is not expected in a unit", text[p.pos:])
	}
	return u, nil
}

type ucum struct {
	text string
	pos  int
}

func (p *ucum) product() (*Unit, error) {
	out := &Unit{factor: 1}
	sign := int8(1)
	if strings.HasPrefix(p.text, "/") {
		p.pos, sign = 1, -1
	}
	for n := 0; ; n++ {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		if t.offset != 0 {
			if n > 0 || p.pos < len(p.text) || sign < 0 {
				return nil, fmt.Errorf("a temperature scale cannot be part of a product")
			}
			return t, nil
		}
		out.multiply(t, sign)
		if p.pos == len(p.text) {
			return out, nil
		}
		switch p.text[p.pos] {
		case '.':
			sign = 1
		case '/':
			sign = -1
		default:
			return nil, fmt.Errorf("%q is not expected in a unit", p.text[p.pos:])
		}
		p.pos++
	}
}

func (u *Unit) multiply(t *Unit, sign int8) {
	for i := range u.dim {
		u.dim[i] += sign * t.dim[i]
	}
	if sign > 0 {
		u.factor *= t.factor
	} else {
		u.factor /= t.factor
	}
}

// term reads an atom with its exponent, a number, or an annotation.
func (p *ucum) term() (*Unit, error) {
	start := p.pos
	for p.pos < len(p.text) && p.text[p.pos] != '.' && p.text[p.pos] != '/' {
		if c := p.text[p.pos]; c == '[' || c == '{' {
			end := strings.IndexByte(p.text[p.pos:], map[byte]byte{'[': ']', '{': '}'}[c])
			if end < 0 {
				return nil, fmt.Errorf("%q is not closed", string(c))
			}
			p.pos += end
		}
		p.pos++
	}
	word := p.text[start:p.pos]
	if i := strings.IndexByte(word, '{'); i >= 0 {
		word = word[:i]
	}
	if word == "" && p.pos > start {
		return &Unit{factor: 1}, nil
	}
	if n, err := strconv.ParseUint(word, 10, 32); err == nil && n > 0 {
		return &Unit{factor: float64(n)}, nil
	}
	name, exponent := splitExponent(word)
	u, ok := atom(name)
	if !ok || exponent == 0 {
		return nil, fmt.Errorf("%q is not a unit", word)
	}
	out := &Unit{factor: 1, offset: u.offset}
	if exponent != 1 && u.offset != 0 {
		return nil, fmt.Errorf("%q has no power", name)
	}
	for range max(exponent, -exponent) {
		out.multiply(&u, int8(exponent/max(exponent, -exponent)))
	}
	return out, nil
}

func splitExponent(word string) (name string, exponent int) {
	i := len(word)
	for i > 0 && word[i-1] >= '0' && word[i-1] <= '9' {
		i--
	}
	if i == len(word) || i == 0 {
		return word, 1
	}
	if word[i-1] == '-' || word[i-1] == '+' {
		i--
	}
	n, err := strconv.Atoi(word[i:])
	if err != nil || n > 9 || n < -9 {
		return word, 0
	}
	return word[:i], n
}

// atom finds a unit atom, with a metric prefix where it may have one.
func atom(name string) (Unit, bool) {
	for _, a := range atoms() {
		if a.name == name {
			return Unit{factor: a.factor, offset: a.offset, dim: a.dim}, true
		}
	}
	for _, p := range prefixes() {
		rest, ok := strings.CutPrefix(name, p.name)
		if !ok {
			continue
		}
		for _, a := range atoms() {
			if a.metric && a.name == rest {
				return Unit{factor: a.factor * p.factor, dim: a.dim}, true
			}
		}
	}
	return Unit{}, false
}
