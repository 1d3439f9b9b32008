package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// faultsOf compiles a press after a change and lists what is wrong: where, column, code, nearest name.
func faultsOf(change func(*Spec)) (p *Program, list []string) {
	sp := pressSpec()
	change(sp)
	p, faults := Compile(sp)
	for _, f := range faults {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s:%d %s %s", f.At.File, f.At.Column, f.Code, f.Near)))
	}
	return p, list
}

func TestCompileReportsFaultsAtTheirPlace(t *testing.T) {
	t.Parallel()
	replace := func(i int, entry string) func(*Spec) {
		return func(sp *Spec) { sp.Rules[0].Set[i] = set(entry)[0] }
	}
	tests := []struct {
		name   string
		change func(*Spec)
		want   []string
	}{
		{"nothing", func(*Spec) {}, nil},
		{"an unknown input in if", func(sp *Spec) { sp.Rules[0].If = ptr(`order != "" and goood > 0`) }, []string{`order != "" and goood > 0:17 UNKNOWN_NAME good`}},
		{"if is no bool", func(sp *Spec) { sp.Rules[0].If = ptr("order") }, []string{"order:1 WRONG_TYPE"}},
		{"when is no bool", func(sp *Spec) { sp.Rules[1].When = ptr("good") }, []string{"good:1 WRONG_TYPE"}},
		{"when reads nothing", func(sp *Spec) { sp.Rules[1].When = ptr("1 > 2") }, []string{"1 > 2:1 UNREACHABLE"}},
		{"delta in when", func(sp *Spec) { sp.Rules[1].When = ptr("delta(good) > 1") }, []string{"delta(good) > 1:1 MISPLACED"}},
		{"an unknown field", replace(4, "delta.goood=delta(good)"), []string{"delta.goood:7 UNKNOWN_FIELD good"}},
		{"an unknown field of the event", replace(2, "operatoin_id=order"), []string{"operatoin_id:1 UNKNOWN_FIELD operation_id"}},
		{"a field of the engine", replace(3, "header.event_id=order"), []string{"header.event_id:8 RESERVED_FIELD"}},
		{"an enum literal", replace(0, "type: PROGRES"), []string{"PROGRES:1 UNKNOWN_ENUM PROGRESS"}},
		{"an enum in a formula", replace(0, `type=done ? "STARTED" : "PROGRES"`), []string{`done ? "STARTED" : "PROGRES":20 UNKNOWN_ENUM PROGRESS`}},
		{"a bool literal", func(sp *Spec) { sp.Rules[1].Set[3] = set("final_confirmation: maybe")[0] }, []string{"maybe:1 WRONG_TYPE"}},
		{"a number into text", replace(2, "operation_id=good"), []string{"good:1 WRONG_TYPE"}},
		{"a quantity of text", replace(4, "delta.good=order"), []string{"order:1 WRONG_TYPE"}},
		{"a quantity without unit", func(sp *Spec) { sp.Inputs[0].Unit = src("") }, []string{"delta(good):1 UNIT_MISSING"}},
		{"a quantity literal without unit", replace(4, "delta.good: 5"), []string{"5:1 WRONG_TYPE"}},
		{"a field below a value", replace(2, "operation_id.x=order"), []string{"operation_id.x:1 WRONG_TYPE"}},
		{"a message where a value stands", replace(4, "delta=good"), []string{"good:1 WRONG_TYPE"}},
		{"a list for one value", replace(2, "operation_id=[order]"), []string{"[order]:1 WRONG_TYPE"}},
		{"a value for a list", replace(2, "equipment_ids=order"), []string{"order:1 WRONG_TYPE"}},
		{"a required field is missing", func(sp *Spec) { sp.Rules[0].Set = append(sp.Rules[0].Set[:1:1], sp.Rules[0].Set[2:]...) }, []string{"ProductionOrderEvent:1 MISSING_FIELD"}},
		{"a misspelt field is not missing too", replace(1, "order_idd=order"), []string{"order_idd:1 UNKNOWN_FIELD order_id"}},
		{"a field twice", replace(2, "order_id=order"), []string{"order_id:1 DUPLICATE_NAME"}},
		{"an unknown message", func(sp *Spec) { sp.Rules[0].Emit = ptr("ProductionOrderEvnt") }, []string{"ProductionOrderEvnt:1 UNKNOWN_MESSAGE ProductionOrderEvent"}},
		{"no trigger", func(sp *Spec) { sp.Rules[1].When = nil }, []string{":0 MISSING_TRIGGER"}},
		{"two triggers", func(sp *Spec) { sp.Rules[0].When = ptr("done") }, []string{":0 TWO_TRIGGERS"}},
		{"two rules of one name", func(sp *Spec) { sp.Rules[1].Name = src("progress") }, []string{"progress:1 DUPLICATE_NAME"}},
		{"two inputs of one name", func(sp *Spec) { sp.Inputs[1].Name = src("good") }, []string{"good:1 DUPLICATE_NAME", "delta(scrap):7 UNKNOWN_NAME"}},
		{"an unknown unit", func(sp *Spec) { sp.Inputs[0].Unit = src("C63") }, []string{"C63:1 UNKNOWN_UNIT C62", "delta(good):1 UNIT_MISSING"}},
		{"e without receive", replace(2, "operation_id=e.id"), []string{"e.id:1 UNKNOWN_NAME"}},
		{"the clock", replace(2, "operation_id=now"), []string{"now:1 NO_CLOCK"}},
		{"a fault in a let is told once", func(sp *Spec) {
			sp.Lets = []Let{{src("twice"), src("good * scarp")}}
			sp.Rules[0].If = ptr("twice > 1 and twice < 9")
		}, []string{"good * scarp:8 UNKNOWN_NAME scrap"}},
		{"on an unknown input", func(sp *Spec) { sp.Rules[1].When, sp.Rules[1].On = nil, ptr("dome") }, []string{"dome:1 UNKNOWN_NAME done"}},
		{"an unknown verb", func(sp *Spec) {
			sp.Rules[1].When, sp.Rules[1].Receive = nil, &Receive{What: src("Operation"), Verbs: []Source{src("change")}}
		}, []string{"change:1 UNKNOWN_VALUE changed"}},
		{"wait where nothing can wait", func(sp *Spec) { sp.Inputs[2].Bad = BadWait; sp.Rules[0].If = ptr("done") }, []string{"done:1 MISPLACED"}},
		{"a counter that is a float", func(sp *Spec) { sp.Inputs[0].Type = "float" }, []string{"good:1 WRONG_TYPE"}},
		{"a required field that bad: omit leaves out", func(sp *Spec) {
			sp.Inputs = append(sp.Inputs, Input{Name: src("number"), Type: "text", Bad: BadOmit})
			sp.Rules[0].Set[1] = set("order_id=number")[0]
		}, []string{"number:1 OMIT_REQUIRED"}},
		{"a write to what is no output", func(sp *Spec) { sp.Rules[1].Ack = []Assign{{src("done"), literalNode("true")}} }, []string{"done:1 UNKNOWN_NAME"}},
		{"all faults in one pass", func(sp *Spec) {
			sp.Rules[0].If = ptr("ordr != \"\" and god > 1")
			sp.Rules[0].Key = ptr("delta(good) / 2")
			sp.Rules[1].Set[0] = set("type: COMPLETE")[0]
		}, []string{`ordr != "" and god > 1:1 UNKNOWN_NAME order`, `ordr != "" and god > 1:16 UNKNOWN_NAME good`, "delta(good) / 2:1 WRONG_TYPE", "COMPLETE:1 UNKNOWN_ENUM COMPLETED"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, got := faultsOf(tt.change)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (p == nil) != (len(got) > 0) {
				t.Error("a program and faults, or neither")
			}
		})
	}
}

func TestWarningsComeWithAProgram(t *testing.T) {
	t.Parallel()
	p, got := faultsOf(func(sp *Spec) {
		sp.Inputs = append(sp.Inputs, Input{Name: src("spare"), Type: "int"})
		sp.Inputs[0].MaxRate = 0
	})
	if diff := cmp.Diff([]string{"good:1 MISSING_MAX_RATE", "spare:1 UNUSED_INPUT"}, got); diff != "" || p == nil {
		t.Error(diff)
	}
}

func TestUnitsOfValuesAndOutputsAreConverted(t *testing.T) {
	t.Parallel()
	sp := stationSpec(BadOmit, func(sp *Spec) {
		sp.Inputs[1].Unit = src("KMH")
		item := &sp.Rules[0].Set[2].Value.Items[0]
		item.Fields = set("characteristic_id: x", "value=x", "unit_code: MTS")
		sp.Outputs = []Output{{Name: src("slow"), Type: "float", Unit: src("m/min")}}
		sp.Rules[0].Ack = []Assign{{src("slow"), formulaNode("x")}}
	})
	w := one(t, sp, nil)
	w.read(reading{0, "P1/ready", false}, reading{0, "P1/x", 36.0}, reading{1 * s, "P1/ready", true})
	w.upto(5 * s)
	r := inspection(t, w.out.Events[0]).GetResults()[0]
	if r.GetValue().GetDoubleValue() != 10 || r.GetUnitCode() != "MTS" {
		t.Errorf("result %v", r)
	}
	if v := w.out.Commands[0].GetWrites()[0].GetValue().GetDoubleValue(); v < 599.999999 || v > 600.000001 {
		t.Errorf("written %v", v)
	}
	sp.Rules[0].Set[2].Value.Items[0].Fields[2] = set("unit_code: KGM")[0]
	if _, faults := Compile(sp); len(faults) != 1 || faults[0].Code != "UNIT_DIMENSION" {
		t.Errorf("faults %+v", faults)
	}
	// Without a unit_code the value's own unit stands beside it.
	sp.Rules[0].Set[2].Value.Items[0].Fields = set("characteristic_id: x", "value=x")
	w = one(t, sp, nil)
	w.read(reading{0, "P1/ready", false}, reading{0, "P1/x", 36.0}, reading{1 * s, "P1/ready", true})
	w.upto(5 * s)
	if r := inspection(t, w.out.Events[0]).GetResults()[0]; r.GetValue().GetDoubleValue() != 36 || r.GetUnitCode() != "KMH" {
		t.Errorf("result %v", r)
	}
}

func FuzzCompileSpec(f *testing.F) {
	f.Add("order", "delta(good)", "done", "delta.good", "PROGRESS")
	f.Add("operation.id", "prev(good) + 1", "good > 3 and done", "header.scope.site", "5 C62")
	f.Fuzz(func(t *testing.T, key, value, when, field, literal string) {
		sp := pressSpec()
		sp.Rules[0].Key = ptr(key)
		sp.Rules[0].Set = append(sp.Rules[0].Set, Field{Name: src(field), Value: formulaNode(value)}, Field{Name: src("reason_text"), Value: literalNode(literal)}, Field{Name: src(field), Value: literalNode(literal)})
		sp.Rules[1].When = ptr(when)
		p, faults := Compile(sp)
		if p == nil && len(faults) == 0 {
			t.Fatal("no program and no fault")
		}
		if p == nil {
			return
		}
		w := newWorld(t, Bound{p, machineOf(sp, "P1", assetPath, nil)})
		w.read(pressReadings()...)
		w.upto(130 * s)
	})
}

func BenchmarkApply(b *testing.B) {
	w := one(b, pressSpec(), nil)
	const n = 100
	b.ReportAllocs()
	b.ResetTimer()
	now := time.Duration(0)
	for i := 0; i < b.N; i += n {
		b.StopTimer()
		var samples []reading
		for j := range n {
			now += 100 * time.Millisecond
			samples = append(samples, reading{now, "P1/good", (i + j) % 65536})
		}
		rec := batchOf(assetPath, "s1", at(now), samplesOf(samples)...)
		w.out.Reset()
		b.StartTimer()
		w.e.Apply(Cause{Record: rec, Key: assetPath, At: at(now)}, &w.out)
		_ = w.e.Delta()
	}
}
