package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/mapping"
)

// ruleTexts are the formulas of line.map.yaml, compiled by expr for expr's own virtual machine, which runs them with a
// struct as environment, typed as its documentation advises; counters are pointers, so that none is copied to the heap.
type ruleTexts struct {
	rules map[eventv1.ProductionOrderEventType]*vmRule
	env   vmEnv
	vm    vm.VM
}

type vmRule struct {
	cond   *vm.Program // nil: always
	fields map[string]*vm.Program
}

// vmEnv is what the formulas of this mapping name.
type vmEnv struct {
	Order      string                 `expr:"order"`
	OrderNo    string                 `expr:"order_no"`
	Op         string                 `expr:"op"`
	Good       *vmCounter             `expr:"good"`
	Scrap      *vmCounter             `expr:"scrap"`
	TotalGood  int64                  `expr:"total_good"`
	TotalScrap int64                  `expr:"total_scrap"`
	EventTime  time.Time              `expr:"event_time"`
	M          vmColumns              `expr:"m"`
	Delta      func(*vmCounter) int64 `expr:"delta"`
}

type vmCounter struct{ Value, Delta int64 }

type vmColumns struct {
	WorkCenter string `expr:"work_center"`
}

func deltaOf(c *vmCounter) int64 { return c.Delta }

// newRuleTexts compiles the formulas as they stand in the mapping file.
func newRuleTexts(set *mapping.Set) (*ruleTexts, error) {
	t := &ruleTexts{rules: map[eventv1.ProductionOrderEventType]*vmRule{}, env: vmEnv{Good: &vmCounter{}, Scrap: &vmCounter{}, Delta: deltaOf}}
	kinds := map[string]eventv1.ProductionOrderEventType{
		"started":  eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_STARTED,
		"progress": eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PROGRESS,
		"complete": eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_COMPLETED,
	}
	for i := range set.Mappings[0].Spec.Rules {
		r := &set.Mappings[0].Spec.Rules[i]
		kind, ok := kinds[r.Name.Text]
		if !ok {
			continue // downloads are no part of the workload
		}
		v := &vmRule{fields: map[string]*vm.Program{}}
		if r.If != nil {
			p, err := compileVM(r.If.Text, &vmEnv{})
			if err != nil {
				return nil, err
			}
			v.cond = p
		}
		for _, f := range r.Set {
			if f.Value.Formula == nil {
				continue
			}
			p, err := compileVM(f.Value.Formula.Text, &vmEnv{})
			if err != nil {
				return nil, err
			}
			v.fields[f.Name.Text] = p
		}
		t.rules[kind] = v
	}
	if len(t.rules) != len(kinds) {
		return nil, fmt.Errorf("line.map.yaml has %d of the %d rules that the comparison knows", len(t.rules), len(kinds))
	}
	return t, nil
}

func compileVM(text string, env any) (*vm.Program, error) {
	p, err := expr.Compile(text, expr.Env(env))
	if err != nil {
		return nil, fmt.Errorf("compiling %q with expr: %w", text, err)
	}
	return p, nil
}

// event makes the event of a rule whose condition holds.
func (t *ruleTexts) event(h *hand, l *handLine, kind eventv1.ProductionOrderEventType, at int64) error {
	r, env := t.rules[kind], &t.env
	env.Order, env.OrderNo, env.Op, env.M.WorkCenter = l.order, l.order, l.operation, l.name
	*env.Good, *env.Scrap = vmCounter{l.good.last, l.good.delta}, vmCounter{l.scrap.last, l.scrap.delta}
	env.TotalGood, env.TotalScrap, env.EventTime = l.totalGood, l.totalScrap, time.Unix(0, at)
	if r.cond != nil {
		yes, err := t.vm.Run(r.cond, env)
		if err != nil {
			return fmt.Errorf("evaluating a condition: %w", err)
		}
		if yes != true {
			return nil
		}
	}
	e := &eventv1.ProductionOrderEvent{Type: kind, State: eventv1.OrderState_ORDER_STATE_RUNNING}
	when := timestamppb.New(env.EventTime)
	if kind == eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_COMPLETED {
		e.State, e.FinalConfirmation = eventv1.OrderState_ORDER_STATE_COMPLETED, true
	}
	for name, p := range r.fields {
		v, err := t.vm.Run(p, env)
		if err != nil {
			return fmt.Errorf("evaluating %s: %w", name, err)
		}
		if err := setField(e, name, v); err != nil {
			return err
		}
	}
	if kind == eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PROGRESS {
		h.counted(l)
	}
	return h.write(l, e, when)
}

// setField gives a field its value.
func setField(e *eventv1.ProductionOrderEvent, name string, v any) error {
	quantity := func(r **eventv1.QuantityReport) *eventv1.QuantityReport {
		if *r == nil {
			*r = &eventv1.QuantityReport{}
		}
		return *r
	}
	switch v := v.(type) {
	case string:
		switch name {
		case "order_id":
			e.OrderId = v
			return nil
		case "operation_id":
			e.OperationId = v
			return nil
		case "header.scope.work_center":
			return nil // write sets it
		}
	case int64:
		q := &eventv1.Quantity{Value: strconv.FormatInt(v, 10), UnitCode: "C62"}
		switch name {
		case "delta.good":
			quantity(&e.Delta).Good = q
			return nil
		case "delta.scrap":
			quantity(&e.Delta).Scrap = q
			return nil
		case "cumulative.good":
			quantity(&e.Cumulative).Good = q
			return nil
		case "cumulative.scrap":
			quantity(&e.Cumulative).Scrap = q
			return nil
		}
	case time.Time:
		switch name {
		case "actual_start":
			e.ActualStart = timestamppb.New(v)
			return nil
		case "actual_end":
			e.ActualEnd = timestamppb.New(v)
			return nil
		case "interval_end":
			e.IntervalEnd = timestamppb.New(v)
			return nil
		}
	}
	return fmt.Errorf("the comparison does not know field %s with a %T", name, v)
}

// comparisons are three ways to do what the mapping says over the corpus.
func (c *corpus) comparisons() ([]stage, error) {
	texts, err := newRuleTexts(c.set)
	if err != nil {
		return nil, err
	}
	want, err := c.tally()
	if err != nil {
		return nil, err
	}
	by := func(name string, texts *ruleTexts) stage {
		return stage{Name: name, Unit: "sample", PerOp: c.samples, once: func() error {
			h := newHand(c.w.Machines, texts)
			for i := range c.records {
				if err := h.batch(c.records[i].rec.GetTags()); err != nil {
					return err
				}
			}
			if h.total != want {
				return fmt.Errorf("it gave %+v and the engine %+v", h.total, want)
			}
			return nil
		}}
	}
	return []stage{
		by("hand-written Go", nil),
		by("hand-written Go, the rules' formulas in expr's virtual machine", texts),
		c.engineStage("engine.Apply", false),
	}, nil
}

// tally counts what the engine gives for the corpus.
func (c *corpus) tally() (t tally, err error) {
	for _, s := range c.steps {
		for i := range s.events {
			if err := t.add(s.events[i].Body); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}
