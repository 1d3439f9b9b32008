package formula

import (
	"fmt"
	"math"
	"testing"

	"github.com/expr-lang/expr"
	"pgregory.net/rapid"
)

// drawNumber and drawBool draw formulas over floats whose meaning we share with the stock expr VM: without null,
// overflow and division by zero, which we define differently.
func drawNumber(t *rapid.T, depth int) string {
	if depth == 0 || rapid.IntRange(0, 3).Draw(t, "leaf") == 0 {
		return rapid.SampledFrom([]string{"temp", "setpoint", "pressure", "speed", "1.5", "0.25", "-3.0", "7"}).Draw(t, "number")
	}
	if rapid.IntRange(0, 4).Draw(t, "choice") == 0 {
		return fmt.Sprintf("(%s ? %s : %s)", drawBool(t, depth-1), drawNumber(t, depth-1), drawNumber(t, depth-1))
	}
	op := rapid.SampledFrom([]string{"+", "-", "*"}).Draw(t, "operator")
	return fmt.Sprintf("(%s %s %s)", drawNumber(t, depth-1), op, drawNumber(t, depth-1))
}

func drawBool(t *rapid.T, depth int) string {
	if depth == 0 {
		return rapid.SampledFrom([]string{"running", "true", "not running", `order == "4711"`, `order + "x" contains material`}).Draw(t, "bool")
	}
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		return fmt.Sprintf("(%s and %s)", drawBool(t, depth-1), drawBool(t, depth-1))
	case 1:
		return fmt.Sprintf("(%s or not (%s))", drawBool(t, depth-1), drawBool(t, 0))
	}
	op := rapid.SampledFrom([]string{"<", "<=", ">", ">="}).Draw(t, "operator")
	return fmt.Sprintf("(%s %s %s)", drawNumber(t, depth-1), op, drawNumber(t, depth-1))
}

func TestSharedFormulasGiveWhatTheStockVMGives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		text := "(" + drawNumber(rt, 4) + ") + 0.0"
		v := values(rapid.IntRange(0, 100).Draw(rt, "values"))
		v.temp = rapid.Float64Range(-1e6, 1e6).Draw(rt, "temp")
		v.running = rapid.Bool().Draw(rt, "running")
		env := map[string]any{"temp": v.temp, "setpoint": v.setpoint, "pressure": v.pressure, "speed": v.speed, "running": v.running, "order": v.order, "material": v.material}
		program, err := expr.Compile(text, expr.Env(env))
		if err != nil {
			rt.Fatalf("%s: %v", text, err)
		}
		out, err := expr.Run(program, env)
		if err != nil {
			rt.Fatalf("%s: %v", text, err)
		}
		l := lower(t, []string{text})
		l.set(&v)
		l.frame.Slots[7].OK = true
		l.frame.Slots[7].SetBool(v.running)
		got, ok := l.exprs[0].Float(&l.frame)
		if want, isFloat := out.(float64); !ok || !isFloat || math.Float64bits(got) != math.Float64bits(want) && got != want {
			rt.Fatalf("%s: got %v, %v; want %v", text, got, ok, out)
		}
	})
}
