package unit

import (
	"fmt"
	"math/big"
	"strings"
)

// UnknownError says that a text is neither a UNECE nor a UCUM code known here.
type UnknownError struct {
	Text   string
	Near   string // the nearest known code, or empty
	Reason string // what of the text is not understood
}

func (e *UnknownError) Error() string {
	s := fmt.Sprintf("unknown unit %q: %s", e.Text, e.Reason)
	if e.Near != "" {
		s += fmt.Sprintf("; did you mean %q?", e.Near)
	}
	return s
}

// Parse reads a unit. A text that is a UNECE Rec. 20 code of the table is that
// (GL is gram per litre, not gigalitre), everything else is UCUM, case-sensitive.
// The error is an *UnknownError.
func Parse(text string) (Unit, error) {
	for _, row := range codes {
		if row.code == text {
			u, err := parseUCUM(row.ucum)
			u.text, u.code = text, row.code
			return u, err
		}
	}
	u, err := parseUCUM(text)
	if err != nil {
		return Unit{}, &UnknownError{Text: text, Near: nearestCode(text), Reason: err.Error()}
	}
	u.text, u.code = text, codeOf(text, u)
	return u, nil
}

// codeOf returns the code of the row with this very text, since N.m is a torque
// and J an energy, else of the first row that means the same.
func codeOf(text string, u Unit) string {
	for _, row := range codes {
		if row.ucum == text {
			return row.code
		}
	}
	for _, row := range codes {
		if o, err := parseUCUM(row.ucum); err == nil && u.Equal(o) {
			return row.code
		}
	}
	return ""
}

// maxText bounds a unit's text, maxExponent what an exponent may be: sensible
// units are far below, and exact ratios grow with both.
const (
	maxText     = 64
	maxExponent = 9
)

// reader reads a UCUM term: components joined by "." and "/", from left to right.
type reader struct {
	rest  string
	depth int
	parts int  // components read so far
	zero  Unit // the special unit with an offset, if one was read
}

func parseUCUM(text string) (Unit, error) {
	if text == "" {
		return Unit{}, fmt.Errorf("it is empty")
	}
	if len(text) > maxText {
		return Unit{}, fmt.Errorf("it is longer than %d characters", maxText)
	}
	r := &reader{rest: text}
	u, err := r.term()
	if err != nil {
		return Unit{}, err
	}
	if r.rest != "" {
		return Unit{}, fmt.Errorf("%q cannot stand there", r.rest)
	}
	if r.zero.offset != nil {
		if r.parts > 1 {
			return Unit{}, fmt.Errorf("a temperature with an offset cannot stand in a product; use K")
		}
		u.offset = r.zero.offset
	}
	for _, e := range u.dim {
		if e > 3*maxExponent || e < -3*maxExponent {
			return Unit{}, fmt.Errorf("its exponents are too large")
		}
	}
	return u, nil
}

func (r *reader) term() (Unit, error) {
	if r.depth++; r.depth > 4 {
		return Unit{}, fmt.Errorf("it has too many parentheses")
	}
	defer func() { r.depth-- }()
	result := Unit{factor: big.NewRat(1, 1)}
	sign := 1
	if strings.HasPrefix(r.rest, "/") {
		sign, r.rest = -1, r.rest[1:]
	}
	for {
		c, err := r.component()
		if err != nil {
			return Unit{}, err
		}
		if result, err = multiply(result, c, sign); err != nil {
			return Unit{}, err
		}
		switch {
		case strings.HasPrefix(r.rest, "."):
			sign = 1
		case strings.HasPrefix(r.rest, "/"):
			sign = -1
		default:
			return result, nil
		}
		r.rest = r.rest[1:]
	}
}

// component reads a parenthesis, a number, an annotation, or a symbol with its
// prefix and exponent.
func (r *reader) component() (Unit, error) {
	r.parts++
	switch {
	case r.rest == "":
		return Unit{}, fmt.Errorf("it ends too early")
	case r.rest[0] == '(':
		r.rest = r.rest[1:]
		u, err := r.term()
		if err != nil {
			return Unit{}, err
		}
		if !strings.HasPrefix(r.rest, ")") {
			return Unit{}, fmt.Errorf("a parenthesis is not closed")
		}
		r.rest = r.rest[1:]
		return u, nil
	case r.rest[0] == '{':
		return Unit{factor: big.NewRat(1, 1)}, r.annotation()
	case r.rest[0] >= '0' && r.rest[0] <= '9':
		return r.number()
	}
	return r.symbol()
}

func (r *reader) annotation() error {
	end := strings.IndexByte(r.rest, '}')
	if end < 0 {
		return fmt.Errorf("a brace is not closed")
	}
	r.rest = r.rest[end+1:]
	return nil
}

func (r *reader) number() (Unit, error) {
	n := 0
	for n < len(r.rest) && r.rest[n] >= '0' && r.rest[n] <= '9' {
		n++
	}
	v, ok := new(big.Int).SetString(r.rest[:n], 10)
	if !ok || n > 9 || v.Sign() == 0 {
		return Unit{}, fmt.Errorf("%s is no factor", r.rest[:n])
	}
	r.rest = r.rest[n:]
	return Unit{factor: new(big.Rat).SetInt(v)}, r.optionalAnnotation()
}

func (r *reader) optionalAnnotation() error {
	if strings.HasPrefix(r.rest, "{") {
		return r.annotation()
	}
	return nil
}

// symbol reads letters and what stands in square brackets, up to an exponent or
// an operator.
func (r *reader) symbol() (Unit, error) {
	n, bracket := 0, false
	for ; n < len(r.rest); n++ {
		c := r.rest[n]
		if c == '[' || c == ']' {
			bracket = c == '['
			continue
		}
		if !bracket && strings.IndexByte("./(){}+-0123456789", c) >= 0 {
			break
		}
	}
	name := r.rest[:n]
	r.rest = r.rest[n:]
	a, prefix, ok := lookup(name)
	if !ok {
		return Unit{}, fmt.Errorf("%q is no unit known here", name)
	}
	exponent, err := r.exponent()
	if err != nil {
		return Unit{}, err
	}
	if a.offset != "" {
		if exponent != 1 || r.depth > 1 {
			return Unit{}, fmt.Errorf("a temperature with an offset cannot stand in a product; use K")
		}
		r.zero = Unit{offset: rat(a.offset)}
	}
	base := Unit{dim: a.dim, factor: new(big.Rat).Mul(rat(a.factor), prefix)}
	result := Unit{factor: big.NewRat(1, 1)}
	for range abs(exponent) {
		if result, err = multiply(result, base, exponent/abs(exponent)); err != nil {
			return Unit{}, err
		}
	}
	return result, r.optionalAnnotation()
}

func (r *reader) exponent() (int, error) {
	rest, sign := r.rest, 1
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		if rest[0] == '-' {
			sign = -1
		}
		rest = rest[1:]
	} else if rest == "" || rest[0] < '0' || rest[0] > '9' {
		return 1, nil
	}
	if rest == "" || rest[0] < '1' || rest[0] > '0'+maxExponent || (len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9') {
		return 0, fmt.Errorf("%q is no exponent from 1 to %d", r.rest, maxExponent)
	}
	r.rest = rest[1:]
	return sign * int(rest[0]-'0'), nil
}

func multiply(a, b Unit, sign int) (Unit, error) {
	out := Unit{factor: new(big.Rat)}
	for i := range a.dim {
		e := int(a.dim[i]) + sign*int(b.dim[i])
		if abs(e) > 100 {
			return Unit{}, fmt.Errorf("its exponents are too large")
		}
		out.dim[i] = int8(e)
	}
	if sign > 0 {
		out.factor.Mul(a.ratio(), b.ratio())
	} else {
		out.factor.Quo(a.ratio(), b.ratio())
	}
	return out, nil
}

func abs(n int) int { return max(n, -n) }

// lookup finds a symbol, then a metric one behind a prefix. A symbol as it stands
// wins: "min" is a minute, "cd" a candela.
func lookup(name string) (a atom, prefix *big.Rat, ok bool) {
	if a, ok := find(name); ok {
		return a, big.NewRat(1, 1), true
	}
	for _, p := range prefixes {
		if rest, cut := strings.CutPrefix(name, p.name); cut {
			if a, ok := find(rest); ok && a.metric {
				return a, rat(p.factor), true
			}
		}
	}
	return atom{}, nil, false
}

func find(name string) (atom, bool) {
	for _, a := range atoms {
		if a.name == name {
			return a, true
		}
	}
	return atom{}, false
}

// rat reads a number of this package's tables: "0.0254", "1200/3937" or "1e-6".
func rat(text string) *big.Rat {
	v, ok := new(big.Rat).SetString(text)
	if !ok {
		panic("unit: " + text + " in a table is no number")
	}
	return v
}
