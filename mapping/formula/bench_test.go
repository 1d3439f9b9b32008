package formula

import (
	"math"
	"testing"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
)

// typical are the eight formulas of a mapping over ten tags.
func typical() []string {
	return []string{
		"temp * 1.8 + 32", "temp > setpoint + 5", "good + scrap", "good + scrap > 0 ? good / (good + scrap) : 0.0",
		`order + "-" + material`, `state == 6 ? "execute" : state == 2 ? "stopped" : "other"`,
		"running and (pressure < 1 or pressure > 8)", "speed / 120 * 100",
	}
}

type tags struct {
	temp, setpoint, pressure, speed float64
	good, scrap, state              int64
	running                         bool
	order, material                 string
}

func values(i int) tags {
	return tags{20 + float64(i%7), 18, 5, 100 + float64(i%11), 1000 + int64(i), 12, 6, true, "4711", "WATER-05"}
}

type results struct {
	a, d, h  float64
	b, g     bool
	c        int64
	e, state string
}

func byHand(t *tags) (r results) {
	r.a = float64(t.temp*1.8) + 32
	r.b = t.temp > t.setpoint+5
	r.c = t.good + t.scrap
	if t.good+t.scrap > 0 {
		r.d = float64(t.good) / float64(t.good+t.scrap)
	}
	r.e = t.order + "-" + t.material
	switch t.state {
	case 6:
		r.state = "execute"
	case 2:
		r.state = "stopped"
	default:
		r.state = "other"
	}
	r.g = t.running && (t.pressure < 1 || t.pressure > 8)
	r.h = t.speed / 120 * 100
	return r
}

// lowered is the same mapping as closures.
type lowered struct {
	frame Frame
	exprs []*Expr
}

func lower(t testing.TB, formulas []string) *lowered {
	t.Helper()
	l := &lowered{}
	names := map[string]*Symbol{}
	for i, x := range []struct {
		name string
		k    Kind
	}{{"temp", Float}, {"setpoint", Float}, {"pressure", Float}, {"speed", Float}, {"good", Int}, {"scrap", Int}, {"state", Int}, {"running", Bool}, {"order", Text}, {"material", Text}} {
		names[x.name] = &Symbol{Name: x.name, Kind: x.k, Slot: i, Input: true}
	}
	l.frame.Slots = make([]Slot, len(names))
	for _, text := range formulas {
		e := Compile(text, &Env{
			Lookup: func(name string) *Symbol { return names[name] }, Names: func() []string { return nil },
			Use: func(string, *Symbol) string { return "" }, Report: func(f Fault) { t.Fatalf("%s: %+v", text, f) },
		})
		l.exprs = append(l.exprs, e)
	}
	return l
}

func (l *lowered) set(t *tags) {
	for i, v := range [...]float64{t.temp, t.setpoint, t.pressure, t.speed} {
		s := &l.frame.Slots[i]
		s.Bits, s.OK = math.Float64bits(v), true
	}
	for i, v := range [...]int64{t.good, t.scrap, t.state} {
		s := &l.frame.Slots[4+i]
		s.Bits, s.OK = uint64(v), true
	}
	l.frame.Slots[7].Bits, l.frame.Slots[7].OK = 1, t.running
	l.frame.Slots[8].Text, l.frame.Slots[8].OK = t.order, true
	l.frame.Slots[9].Text, l.frame.Slots[9].OK = t.material, true
}

func (l *lowered) run() (r results) {
	f := &l.frame
	r.a, _ = l.exprs[0].Float(f)
	r.b, _ = l.exprs[1].Bool(f)
	r.c, _ = l.exprs[2].Int(f)
	r.d, _ = l.exprs[3].Float(f)
	r.e, _ = l.exprs[4].Text(f)
	r.state, _ = l.exprs[5].Text(f)
	r.g, _ = l.exprs[6].Bool(f)
	r.h, _ = l.exprs[7].Float(f)
	return r
}

func TestClosuresGiveWhatHandWrittenCodeGives(t *testing.T) {
	t.Parallel()
	l := lower(t, typical())
	for i := range 50 {
		v := values(i)
		l.set(&v)
		if got, want := l.run(), byHand(&v); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}

// One allocation is the new text; numbers, bools and literals take none.
func TestEvaluationAllocatesOnlyNewText(t *testing.T) {
	l := lower(t, typical())
	v := values(3)
	if n := testing.AllocsPerRun(100, func() { l.set(&v); _ = l.run() }); n > 1 {
		t.Errorf("%v allocations for eight formulas of which one makes a text", n)
	}
	numbers := lower(t, []string{"temp * 1.8 + 32 > 60 and good + scrap > 0", "if good in [1, 2] { 1 } else { 0 }", "round(temp, 1) + good", "(good ?? 1) / 2"})
	numbers.set(&v)
	if n := testing.AllocsPerRun(100, func() {
		f := &numbers.frame
		_, _ = numbers.exprs[0].Bool(f)
		_, _ = numbers.exprs[1].Int(f)
		_, _ = numbers.exprs[2].Float(f)
		_, _ = numbers.exprs[3].Float(f)
	}); n != 0 {
		t.Errorf("%v allocations for numbers", n)
	}
}

func BenchmarkEightFormulas(b *testing.B) {
	b.Run("by hand", func(b *testing.B) {
		b.ReportAllocs()
		var sink results
		for i := range b.N {
			v := values(i)
			sink = byHand(&v)
		}
		_ = sink
	})
	b.Run("closures", func(b *testing.B) {
		l := lower(b, typical())
		b.ReportAllocs()
		var sink results
		for i := range b.N {
			v := values(i)
			l.set(&v)
			sink = l.run()
		}
		_ = sink
	})
	b.Run("stock expr VM", func(b *testing.B) {
		env := map[string]any{
			"temp": 1.0, "setpoint": 1.0, "pressure": 1.0, "speed": 1.0, "good": int64(1), "scrap": int64(1), "state": int64(1), "running": true, "order": "", "material": "",
		}
		var programs []*vm.Program
		for _, text := range typical() {
			p, err := expr.Compile(text, expr.Env(env))
			if err != nil {
				b.Fatal(err)
			}
			programs = append(programs, p)
		}
		var machine vm.VM
		b.ReportAllocs()
		for i := range b.N {
			v := values(i)
			env["temp"], env["setpoint"], env["pressure"], env["speed"] = v.temp, v.setpoint, v.pressure, v.speed
			env["good"], env["scrap"], env["state"], env["running"] = v.good, v.scrap, v.state, v.running
			env["order"], env["material"] = v.order, v.material
			for _, p := range programs {
				if _, err := machine.Run(p, env); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	bench := newBench(b)
	b.ReportAllocs()
	for range b.N {
		Compile(`if not ok(torque) { "NOT_DECIDABLE" } else if f < m.lsl or f > m.lsl { "FAIL" } else { "PASS" }`, bench.env())
	}
}
