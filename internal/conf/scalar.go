package conf

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decodeScalar reads one value by the type of its target.
func decodeScalar(n *Node, v reflect.Value, f field, faults *Faults) {
	if !wantKind(n, Scalar, faults) {
		return
	}
	if v.Kind() == reflect.String {
		decodeString(n, v, faults)
		return
	}
	if n.IsQuoted() || n.IsBlock() {
		faults.Add(n.ValuePos(), CodeWrongType, fmt.Sprintf("%s wants %s, and text in quotes is text", n.label(), wanted(v.Type())),
			Hint("remove the quotes"))
		return
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		decodeDuration(n, v, f, faults)
	case v.Kind() == reflect.Bool:
		decodeBool(n, v, faults)
	case v.CanInt():
		decodeInt(n, v, f, faults)
	case v.CanUint():
		decodeUint(n, v, f, faults)
	case v.CanFloat():
		decodeFloat(n, v, f, faults)
	default:
		panic(fmt.Sprintf("conf: cannot decode into %s", v.Type()))
	}
}

func decodeString(n *Node, v reflect.Value, faults *Faults) {
	if e, ok := v.Addr().Interface().(Enum); ok {
		if values := e.Values(); !slices.Contains(values, n.Text()) {
			near := Nearest(n.Text(), values)
			faults.Add(n.ValuePos(), CodeUnknownValue, fmt.Sprintf("%s is not a value of %s", quoteShort(n.Text()), n.label()),
				Near(near), Hint("one of: %s", strings.Join(values, ", ")))
			return
		}
	}
	v.SetString(n.Text())
}

func decodeBool(n *Node, v reflect.Value, faults *Faults) {
	switch n.Text() {
	case "true", "false":
		v.SetBool(n.Text() == "true")
		return
	}
	near := ""
	switch strings.ToLower(n.Text()) {
	case "yes", "on", "y", "true", "1":
		near = "true"
	case "no", "off", "n", "false", "0":
		near = "false"
	}
	faults.Add(n.ValuePos(), CodeWrongType, fmt.Sprintf("%s wants true or false, not %s", n.label(), quoteShort(n.Text())), Near(near))
}

func decodeDuration(n *Node, v reflect.Value, f field, faults *Faults) {
	d, err := ParseDuration(n.Text())
	if err != nil {
		faults.Add(n.ValuePos(), CodeWrongType, fmt.Sprintf("%s: %v", n.label(), err), Hint("write a number with ms, s, m, h or d, such as 10s or 1m30s"))
		return
	}
	if f.positive && d <= 0 {
		notPositive(n, faults)
		return
	}
	v.SetInt(int64(d))
}

// leadingZero finds numbers that YAML versions read differently: 0017 is 15 or 17.
var leadingZero = regexp.MustCompile(`^[-+]?0[0-9_]`)

// integerText checks the form of an integer and returns what strconv reads.
func integerText(n *Node, faults *Faults) (string, bool) {
	text := n.Text()
	if leadingZero.MatchString(text) {
		faults.Add(n.ValuePos(), CodeWrongType, fmt.Sprintf("%s wants a whole number, and %s has a leading zero", n.label(), quoteShort(text)),
			Hint("remove the zero; an octal number is written 0o17"))
		return "", false
	}
	return text, true
}

func decodeInt(n *Node, v reflect.Value, f field, faults *Faults) {
	text, ok := integerText(n, faults)
	if !ok {
		return
	}
	i, err := strconv.ParseInt(text, 0, v.Type().Bits())
	if err != nil {
		bits := v.Type().Bits()
		integerFault(n, err, fmt.Sprint(int64(math.MinInt64)>>(64-bits)), fmt.Sprint(int64(math.MaxInt64)>>(64-bits)), faults)
		return
	}
	if f.positive && i <= 0 {
		notPositive(n, faults)
		return
	}
	v.SetInt(i)
}

func decodeUint(n *Node, v reflect.Value, f field, faults *Faults) {
	text, ok := integerText(n, faults)
	if !ok {
		return
	}
	u, err := strconv.ParseUint(text, 0, v.Type().Bits())
	if err != nil {
		if strings.HasPrefix(text, "-") {
			if _, negative := strconv.ParseInt(text, 0, 64); negative == nil {
				err = strconv.ErrRange
			}
		}
		integerFault(n, err, "0", fmt.Sprint(uint64(math.MaxUint64)>>(64-v.Type().Bits())), faults)
		return
	}
	if f.positive && u == 0 {
		notPositive(n, faults)
		return
	}
	v.SetUint(u)
}

func integerFault(n *Node, err error, low, high string, faults *Faults) {
	if errors.Is(err, strconv.ErrRange) {
		faults.Add(n.ValuePos(), CodeOutOfRange, fmt.Sprintf("%s: %s is out of range", n.label(), quoteShort(n.Text())),
			Hint("it must be from %s to %s", low, high))
		return
	}
	faults.Add(n.ValuePos(), CodeWrongType, fmt.Sprintf("%s wants a whole number, not %s", n.label(), quoteShort(n.Text())), numberHint(n.Text()))
}

// decimalNumber is the form of a number that people, spreadsheets and every
// parser read alike.
var decimalNumber = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)?(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// ParseFloat reads a finite decimal number with a decimal point.
func ParseFloat(text string) (float64, error) {
	if !decimalNumber.MatchString(text) || !strings.ContainsAny(text, "0123456789") {
		return 0, strconv.ErrSyntax
	}
	v, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, strconv.ErrRange
	}
	if err != nil {
		return 0, strconv.ErrSyntax
	}
	return v, nil
}

func decodeFloat(n *Node, v reflect.Value, f field, faults *Faults) {
	x, err := ParseFloat(n.Text())
	switch {
	case errors.Is(err, strconv.ErrRange) || (err == nil && v.OverflowFloat(x)):
		faults.Add(n.ValuePos(), CodeOutOfRange, fmt.Sprintf("%s: %s is out of range", n.label(), quoteShort(n.Text())))
	case err != nil:
		faults.Add(n.ValuePos(), CodeWrongType, fmt.Sprintf("%s wants a number, not %s", n.label(), quoteShort(n.Text())), numberHint(n.Text()))
	case f.positive && x <= 0:
		notPositive(n, faults)
	default:
		v.SetFloat(x)
	}
}

var decimalComma = regexp.MustCompile(`^[-+]?[0-9]+,[0-9]+$`)

func numberHint(text string) Option {
	if decimalComma.MatchString(text) {
		return Hint("write %s: the decimal sign is a point", strings.ReplaceAll(text, ",", "."))
	}
	return Hint("write digits, without a unit")
}

func notPositive(n *Node, faults *Faults) {
	faults.Add(n.ValuePos(), CodeOutOfRange, n.label()+" must be above zero")
}

func quoteShort(text string) string { return strconv.Quote(shorten(text)) }

// shorten keeps long values out of messages.
func shorten(text string) string {
	const most = 40
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
