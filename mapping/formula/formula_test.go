package formula

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/pipeline"
)

// bench is a place for formulas with a few names of each type.
type bench struct {
	frame  Frame
	names  map[string]*Symbol
	faults []Fault
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{names: map[string]*Symbol{}}
	add := func(name string, k Kind, unit string) *Slot {
		i := len(b.frame.Slots)
		b.frame.Slots = append(b.frame.Slots, make([]Slot, 4)...)
		s := &Symbol{Name: name, Kind: k, Slot: i, Prev: i + 1, Delta: i + 2, Changed: i + 3, Input: true}
		if unit != "" {
			u, fault := ReadUnit(unit)
			if fault != nil {
				t.Fatal(fault)
			}
			s.Unit = u
		}
		b.names[name] = s
		return &b.frame.Slots[i]
	}
	now := add("event_time", Time, "")
	now.SetInt(10e9)
	for _, x := range []struct {
		name string
		k    Kind
		unit string
	}{
		{"i", Int, ""}, {"j", Int, ""}, {"big", Int, ""}, {"small", Int, ""}, {"u", Uint, ""}, {"f", Float, ""}, {"g", Float, ""},
		{"yes", Bool, ""}, {"no", Bool, ""}, {"s", Text, ""}, {"t", Text, ""}, {"zero", Int, ""}, {"torque", Float, "[lbf_av].[in_i]"},
		{"mass", Float, "KGM"}, {"nothing", Int, ""}, {"nofloat", Float, ""}, {"nobool", Bool, ""}, {"notext", Text, ""}, {"temp", Float, "CEL"},
	} {
		add(x.name, x.k, x.unit)
	}
	set := func(name string) *Slot { s := &b.frame.Slots[b.names[name].Slot]; s.At = 7e9; return s }
	set("i").SetInt(7)
	set("j").SetInt(-3)
	set("big").SetInt(math.MaxInt64)
	set("small").SetInt(math.MinInt64)
	set("u").SetUint(math.MaxUint64)
	set("f").SetFloat(2.5)
	set("g").SetFloat(0.1)
	set("yes").SetBool(true)
	set("no").SetBool(false)
	set("s").SetText("press")
	set("t").SetText("P1")
	set("zero").SetInt(0)
	set("torque").SetFloat(88.5)
	set("mass").SetFloat(3)
	set("temp").SetFloat(20)
	b.frame.Slots[b.names["i"].Delta].SetInt(4)
	b.frame.Slots[b.names["i"].Prev].SetInt(6)
	b.frame.Slots[b.names["i"].Changed].SetBool(true)
	return b
}

func (b *bench) env() *Env {
	return &Env{
		Lookup: func(name string) *Symbol { return b.names[name] },
		Names:  func() []string { return sortedKeys(b.names) },
		Columns: func(name string) *Symbol {
			if name == "lsl" {
				return b.names["f"]
			}
			return nil
		},
		ColumnNames: []string{"lsl", "usl"},
		Tables:      map[string]*Table{"reasons": {Columns: []string{"code", "text", "class"}, Rows: map[string][]string{"7": {"7", "scratch", "A"}}}},
		EventTime:   0,
		Use:         func(string, *Symbol) string { return "" },
		Report:      func(f Fault) { b.faults = append(b.faults, f) },
	}
}

// result renders what a formula gives: null, or its value.
func (b *bench) result(e *Expr) string {
	f := &b.frame
	null := func(ok bool, v any) string {
		if !ok {
			return "null"
		}
		return fmt.Sprint(v)
	}
	switch e.Kind {
	case Null:
		return "null"
	case Bool:
		v, ok := e.Bool(f)
		return null(ok, v)
	case Int, Time:
		v, ok := e.Int(f)
		return null(ok, v)
	case Uint:
		v, ok := e.Uint(f)
		return null(ok, v)
	case Float:
		v, ok := e.Float(f)
		return null(ok, v)
	case Text:
		v, ok := e.Text(f)
		return null(ok, v)
	}
	return e.Kind.String()
}

func TestOperatorsGiveWhatAPlantNeeds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		formula, want string
		undefined     bool // division by zero or overflow: null, and bad
	}{
		{"1 + 2", "3", false}, {"i + 1", "8", false}, {"i - j", "10", false}, {"i * j", "-21", false}, {"-i", "-7", false}, {"+i", "7", false},
		{"7 / 2", "3.5", false}, {"i / 2", "3.5", false}, {"-7 % 3", "-1", false}, {"i % 4", "3", false},
		{"i + 0.5", "7.5", false}, {"f + i", "9.5", false}, {"f * 2", "5", false}, {"f - 1", "1.5", false}, {"g + 0.2", "0.30000000000000004", false}, {"g * 3", "0.30000000000000004", false}, {"g * g", "0.010000000000000002", false},
		// Overflow is never a wrap.
		{"big + 1", "null", true}, {"small - 1", "null", true}, {"big * 2", "null", true}, {"-small", "null", true}, {"small * -1", "null", true},
		{"u + 1", "null", true}, {"u - 1", "18446744073709551614", false}, {"u * 2", "null", true}, {"u + i", "null", true},
		{"i / 0", "null", true}, {"f / 0.0", "null", true}, {"i % zero", "null", true}, {"0 / zero", "null", true}, {"small % -1", "0", false},
		// 64 bit integers are exact, and no sign is lost.
		{"u > 0", "true", false}, {"u > big", "true", false}, {"j < u", "true", false}, {"u == 18", "false", false}, {"j > u", "false", false},
		{"big > 9223372036854775806", "true", false}, {"big < f", "false", false}, {"i < f", "false", false}, {"j < f", "true", false}, {"f >= i", "false", false},
		{"i == 7", "true", false}, {"i != 7", "false", false}, {"i >= 7 and i <= 7", "true", false}, {"f == 2.5", "true", false}, {"1 < i < 9", "true", false},
		// Null propagates, except through ?? and ==/!= nil.
		{"nothing + 1", "null", false}, {"1 + nothing", "null", false}, {"nofloat * 2.0", "null", false}, {"-nothing", "null", false}, {"not nobool", "null", false},
		{"nothing > 1", "null", false}, {"nothing == nothing", "null", false}, {"notext + s", "null", false}, {"round(nofloat, 1)", "null", false}, {"nothing / zero", "null", false},
		{"nothing ?? 5", "5", false}, {"i ?? 5", "7", false}, {"notext ?? \"x\"", "x", false}, {"nothing ?? f", "2.5", false}, {"nothing == nil", "true", false},
		{"i != nil", "true", false}, {"nil == i", "false", false}, {"nobool ? 1 : 2", "null", false}, {"yes ? i : nil", "7", false}, {"no ? i : nil", "null", false},
		// and, or are three-valued.
		{"nobool and no", "false", false}, {"no and nobool", "false", false}, {"nobool and yes", "null", false}, {"yes and nobool", "null", false},
		{"nobool or yes", "true", false}, {"yes or nobool", "true", false}, {"nobool or no", "null", false}, {"no or nobool", "null", false},
		{"yes && !no", "true", false}, {"no || yes", "true", false}, {"not (yes and no)", "true", false},
		{"yes ? 1 : 2.5", "1", false}, {"no ? 1 : 2.5", "2.5", false}, {`if i > 5 { "a" } else if i > 3 { "b" } else { "c" }`, "a", false},
		{`s + "-" + t`, "press-P1", false}, {`s == "press"`, "true", false}, {`s < t`, "false", false}, {`s contains "es"`, "true", false},
		{`s startsWith "p" and s endsWith "s"`, "true", false}, {`i in [1, 7]`, "true", false}, {`s in ["a"]`, "false", false}, {`i in [1, nothing]`, "null", false}, {`i not in [1]`, "true", false},
		{"round(f)", "3", false}, {"round(-2.5)", "-3", false}, {"round(f, 0)", "3", false}, {"round(2.345, 2)", "2.35", false}, {"round(i)", "7", false}, {"round(1e300)", "null", true},
		{"let x = i * 2; x + x", "28", false}, {"delta(i)", "4", false}, {"prev(i)", "6", false}, {"changed(i)", "true", false}, {"ok(i)", "true", false}, {"ok(nothing)", "false", false},
		{"age(i)", "3", false}, {"age(nothing)", "null", false}, {"ts(i)", "7000000000", false}, {"event_time - ts(i)", "3", false}, {"event_time > ts(i)", "true", false},
		{"quality(i)", "0", false}, {"quality(nothing)", fmt.Sprint(uint32(pipeline.BadWaitingForInitialData)), false}, {"m.lsl", "2.5", false},
		{`lookup(reasons, "7")`, "scratch", false}, {`lookup(reasons, i)`, "scratch", false}, {`lookup(reasons, i, "class")`, "A", false}, {`lookup(reasons, "8")`, "null", false}, {`lookup(reasons, notext)`, "null", false},
		{`round(convert(torque, "N.m"), 3)`, "9.999", false}, {`round(convert(temp, "[degF]"), 6)`, "68", false}, {`convert(mass, "GRM")`, "3000", false}, {`mass | round(1)`, "3", false},
		{"yes == no", "false", false}, {"1e308 * 10.0", "null", true}, {"nil", "null", false},
	}
	for _, tt := range tests {
		t.Run(tt.formula, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			e := Compile(tt.formula, b.env())
			if len(b.faults) > 0 {
				t.Fatalf("faults: %+v", b.faults)
			}
			if got := b.result(e); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if got := b.frame.Status.IsBad() && b.frame.Overflows > 0; got != tt.undefined {
				t.Errorf("undefined: got %v, want %v", got, tt.undefined)
			}
		})
	}
}

func TestFaultsStandAtTheirColumn(t *testing.T) {
	t.Parallel()
	tests := []struct{ formula, want string }{ // offset code near
		{"goood + i", "0 UNKNOWN_NAME "}, {"i + torqe", "4 UNKNOWN_NAME torque"}, {"tmep > 3 and zork < 1", "0 UNKNOWN_NAME temp|13 UNKNOWN_NAME "},
		{"now", "0 NO_CLOCK "}, {"i + now()", "4 NO_CLOCK "}, {"delat(i)", "0 UNKNOWN_FUNCTION delta"}, {"1 + mean(i)", "4 LATER_FEATURE "},
		{"map([1], # + 1)", "0 UNKNOWN_FUNCTION "}, {`"a" + repeat("a", 3)`, "6 UNKNOWN_FUNCTION "}, {"now", "0 NO_CLOCK "},
		{"s * 2", "2 WRONG_TYPE "}, {"s + 1", "2 WRONG_TYPE "}, {"i == f", "2 WRONG_TYPE "}, {"i == s", "2 WRONG_TYPE "}, {"yes > no", "4 WRONG_TYPE "},
		{"yes and i", "4 WRONG_TYPE "}, {"not i", "0 WRONG_TYPE "}, {"i ? 1 : 2", "0 WRONG_TYPE "}, {`yes ? 1 : "a"`, "10 WRONG_TYPE "}, {"f % 2", "2 WRONG_TYPE "},
		{"m.lsll", "2 UNKNOWN_COLUMN lsl"}, {"i.x", "2 WRONG_TYPE "}, {"round(i, 1, 2)", "0 WRONG_ARITY "}, {"round(f, i)", "9 WRONG_TYPE "}, {"delta(i + 1)", "6 WRONG_TYPE "}, {"delta(s)", "6 WRONG_TYPE "},
		{`convert(torque, "KGM")`, "17 UNIT_DIMENSION "}, {`convert(i, "KGM")`, "8 UNIT_MISSING "}, {`convert(mass, "KGMM")`, "15 UNKNOWN_UNIT KGM"}, {"mass + torque", "5 UNIT_DIMENSION "}, {"mass > torque", "5 UNIT_DIMENSION "},
		{"lookup(resons, s)", "7 UNKNOWN_TABLE reasons"}, {`lookup(reasons, s, "txt")`, "20 UNKNOWN_COLUMN text"},
		{`s + "abc`, "4 FORMULA_SYNTAX "}, {"i +", "2 FORMULA_SYNTAX "}, {"", "0 FORMULA_SYNTAX "}, {"(i", "1 FORMULA_SYNTAX "},
		{"i ** 2", "2 NOT_IN_LANGUAGE "}, {`s matches "a"`, "2 NOT_IN_LANGUAGE "}, {"[1][0]", "3 NOT_IN_LANGUAGE "}, {"{a: 1}", "0 NOT_IN_LANGUAGE "}, {"1..3", "1 NOT_IN_LANGUAGE "},
		{`"ä" + goood`, "7 UNKNOWN_NAME "}, {"nil ?? nil", "4 WRONG_TYPE "}, {"null", "0 UNKNOWN_NAME nil"}, {"delta", "0 UNKNOWN_NAME "},
	}
	for _, tt := range tests {
		t.Run(tt.formula, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			e := Compile(tt.formula, b.env())
			var got []string
			for _, f := range b.faults {
				got = append(got, fmt.Sprintf("%d %s %s", f.Offset, f.Code, f.Near))
			}
			if diff := cmp.Diff(strings.Split(tt.want, "|"), got); diff != "" {
				t.Errorf("faults (-want +got):\n%s%+v", diff, b.faults)
			}
			if e.Kind != Invalid {
				t.Errorf("kind %s after a fault", e.Kind)
			}
		})
	}
}

func TestLargeFormulasAreRefused(t *testing.T) {
	t.Parallel()
	lets := "let a = i + i; "
	for c := 'b'; c < 'n'; c++ {
		lets += fmt.Sprintf("let %c = %c + %c; ", c, c-1, c-1)
	}
	for name, text := range map[string]string{
		"too long": strings.Repeat("i+", 3000) + "i", "too many nodes": strings.Repeat("i+", 600) + "i",
		"too deep": strings.Repeat("(", 100) + strings.Repeat("-", 100) + "i" + strings.Repeat(")", 100), "too costly": lets + "m2 + m2",
		"too deep lets": lets + "m",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if e := Compile(text, b.env()); e.Kind != Invalid || len(b.faults) == 0 {
				t.Errorf("kind %s, faults %+v", e.Kind, b.faults)
			}
		})
	}
}

func TestCanonicalTextIgnoresSpacesAndComments(t *testing.T) {
	t.Parallel()
	if a, b := Canonical("i+1 > 2"), Canonical("i + 1 /* one more */ > 2"); a != b {
		t.Errorf("%q and %q", a, b)
	}
	if Canonical("i + 1") == Canonical("i + 2") {
		t.Error("different formulas have one text")
	}
	if got := Canonical("i +"); got != "i +" {
		t.Errorf("a formula with a fault: %q", got)
	}
}

// The parser shares the middle of a chain of comparisons, so that naive walks take exponential time.
func TestNestedChainsOfComparisonsTakeBoundedTime(t *testing.T) {
	t.Parallel()
	text := "i"
	for range 200 {
		text = "i < (" + text + ") < i"
	}
	b := newBench(t)
	if e := Compile(text, b.env()); e.Kind != Invalid {
		t.Error("not refused")
	}
	if Canonical(text) != text {
		t.Error("not taken as it is")
	}
}

// A replay on another processor makes the same events, so a converted value has the same bits everywhere.
func TestConvertGivesTheBitsOfTheUnitsConversion(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		formula, to string
		bits        uint64
	}{
		{`convert(torque, "N.m")`, "NU", 0x4023ff918dfe582e}, {`convert(mass, "[lb_av]")`, "LBR", 0x401a7499c71a58e2},
		{`convert(temp, "[degF]")`, "FAH", 0x4051000000000000}, {`convert(temp, "K")`, "KEL", 0x4072526666666666}, {`convert(mass, "KGM")`, "KGM", 0x4008000000000000},
	} {
		b := newBench(t)
		e := Compile(tt.formula, b.env())
		if len(b.faults) > 0 || e.Kind != Float || e.Unit.Code() != tt.to {
			t.Fatalf("%s: %s in %v, %+v", tt.formula, e.Kind, e.Unit, b.faults)
		}
		if v, ok := e.Float(&b.frame); !ok || math.Float64bits(v) != tt.bits {
			t.Errorf("%s = %v, %#x, %v; want %#x", tt.formula, v, math.Float64bits(v), ok, tt.bits)
		}
	}
}

// AllocsPerRun forbids parallel tests.
func TestConvertDoesNotAllocate(t *testing.T) {
	b := newBench(t)
	e := Compile(`convert(torque, "N.m")`, b.env())
	if n := testing.AllocsPerRun(100, func() { e.Float(&b.frame) }); n != 0 {
		t.Errorf("%v allocations per value", n)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		"i + 1", `if not ok(f) { "NOT_DECIDABLE" } else if f < m.lsl { "FAIL" } else { "PASS" }`, `lookup(reasons, "7") ?? s`, "let x = 1; x", "[s, t]",
		"e.order.order_id", "1..3", "map(a, #)", `"a`, "nil ?? 1", "i in [1,2]", "-9223372036854775808", "1 < i < 3", "s?.x", "a[1:2]", "#", "{a:1}.b", "round(f, 3)|round(1)", "``", "b\"\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b := newBench(t)
		e := Compile(text, b.env())
		if (e.Kind == Invalid) != (len(b.faults) > 0) && len(b.faults) == 0 {
			t.Fatalf("no fault and no kind for %q", text)
		}
		for _, x := range b.faults {
			if x.Offset < 0 || x.Offset > len(text) {
				t.Fatalf("%q: a fault at %d", text, x.Offset)
			}
		}
		if len(b.faults) == 0 {
			b.result(e)
		}
		Canonical(text)
	})
}
