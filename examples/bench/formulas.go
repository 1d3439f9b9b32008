package main

import (
	"fmt"

	"github.com/expr-lang/expr/vm"

	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/mapping/formula"
)

// evaluations are ways to evaluate one formula, the condition of the rule progress, as often as PerOp says.
func evaluations(set *mapping.Set) ([]stage, error) {
	text := ""
	for i := range set.Mappings[0].Spec.Rules {
		if r := &set.Mappings[0].Spec.Rules[i]; r.Name.Text == "progress" && r.If != nil {
			text = r.If.Text
		}
	}
	closure, frame, err := lowered(text)
	if err != nil {
		return nil, err
	}
	env := &vmEnv{Order: "1000001", Good: &vmCounter{7, 3}, Scrap: &vmCounter{}, Delta: deltaOf}
	asMap := map[string]any{"order": "1000001", "good": env.Good, "scrap": env.Scrap, "delta": deltaOf}
	typed, err := compileVM(text, &vmEnv{})
	if err != nil {
		return nil, err
	}
	untyped, err := compileVM(text, asMap)
	if err != nil {
		return nil, err
	}
	const times = 1000
	var machine vm.VM
	each := func(name string, f func() (bool, error)) stage {
		return stage{Name: name, Unit: "evaluation", PerOp: times, once: func() error {
			for range times {
				if yes, err := f(); err != nil || !yes {
					return fmt.Errorf("evaluating %q gave %v: %w", text, yes, err)
				}
			}
			return nil
		}}
	}
	by := func(p *vm.Program, env any) func() (bool, error) {
		return func() (bool, error) {
			v, err := machine.Run(p, env)
			return v == true, err
		}
	}
	l := &handLine{order: env.Order, good: handCounter{delta: 3}}
	return []stage{
		each("hand-written Go", func() (bool, error) { return l.order != "" && (l.good.delta > 0 || l.scrap.delta > 0), nil }),
		each("mapping/formula, as the engine runs it", func() (bool, error) {
			yes, ok := closure(frame)
			return yes && ok, nil
		}),
		each("expr's virtual machine, struct environment", by(typed, env)),
		each("expr's virtual machine, map environment that is filled already", by(untyped, asMap)),
	}, nil
}

// lowered is a formula as the engine lowers it, with a frame in which it is true.
func lowered(text string) (formula.BoolFunc, *formula.Frame, error) {
	input := func(name string, at int) *formula.Symbol {
		return &formula.Symbol{Name: name, Kind: formula.Int, Input: true, Slot: at, Prev: at + 1, Delta: at + 2, Changed: at + 3}
	}
	var faults []formula.Fault
	e := formula.Compile(text, &formula.Env{
		Lookup: func(name string) *formula.Symbol {
			switch name {
			case "order":
				return &formula.Symbol{Name: name, Kind: formula.Text, Context: true, Slot: 0}
			case "good":
				return input(name, 1)
			case "scrap":
				return input(name, 5)
			}
			return nil
		},
		Names:   func() []string { return nil },
		Columns: func(string) *formula.Symbol { return nil },
		Use:     func(string, *formula.Symbol) string { return "" },
		Report:  func(f formula.Fault) { faults = append(faults, f) },
	})
	if len(faults) > 0 || e.Bool == nil {
		return nil, nil, fmt.Errorf("compiling %q: %v", text, faults)
	}
	f := &formula.Frame{Slots: make([]formula.Slot, 9)}
	f.Slots[0] = formula.Slot{Text: "1000001", OK: true}
	for at, delta := range map[int]int64{1: 3, 5: 0} {
		f.Slots[at].SetInt(7)
		f.Slots[at+2].SetInt(delta)
	}
	return e.Bool, f, nil
}
