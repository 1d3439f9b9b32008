package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/mapping/formula"
	"github.com/plantloom/plantloom/pipeline"
)

// stationSpec has one rule that fires at ready with a value of a policy.
func stationSpec(bad BadPolicy, change func(*Spec)) *Spec {
	sp := &Spec{
		Name:   "station",
		Inputs: []Input{{Name: src("ready"), Type: "bool"}, {Name: src("x"), Type: "float", Bad: bad}},
		Rules: []Rule{{
			Name: src("result"), When: ptr("ready"), Emit: ptr("QualityEvent"), Key: ptr(`"k"`),
			Set: append(set("type: RESULT_RECORDED", "material_id=ok(x) ? \"ok\" : \"not ok\""), Field{Name: src("results"), Value: Node{Items: []Node{{Fields: set("characteristic_id: x", "value=x", "status_code=quality(x)")}}}}),
		}},
	}
	if change != nil {
		change(sp)
	}
	return sp
}

// fired renders results: value, ok, quality of the event.
func (w *world) fired() (lines []string) {
	for _, e := range w.out.Events {
		m := inspection(w.t, e)
		v := "none"
		if x := m.GetResults()[0].GetValue(); x != nil {
			v = show(x)
		}
		lines = append(lines, strings.Join([]string{e.At.Sub(start).String(), v, m.GetMaterialId(), strings.TrimPrefix(m.GetHeader().GetQuality().String(), "QUALITY_")}, " "))
	}
	return lines
}

func TestPoliciesForBadValues(t *testing.T) {
	t.Parallel()
	edges := func(values ...reading) []reading {
		return append(values, reading{0, "P1/ready", false}, reading{10 * s, "P1/ready", true}, reading{15 * s, "P1/ready", false}, reading{20 * s, "P1/ready", true})
	}
	tests := []struct {
		name     string
		bad      BadPolicy
		maxAge   time.Duration
		readings []reading
		want     []string
	}{
		{"hold uses the last good value, and never for the next part", BadHold, 0, edges(reading{1 * s, "P1/x", 1.5}, reading{8 * s, "P1/x", pipeline.Bad}), []string{"10s 1.5 not ok UNCERTAIN", "20s none not ok BAD"}},
		{"a good value that did not change is good for the next part", BadHold, 0, edges(reading{1 * s, "P1/x", 1.5}), []string{"10s 1.5 ok GOOD", "20s 1.5 ok GOOD"}},
		{"hold ends at max_age", BadHold, 5 * s, edges(reading{1 * s, "P1/x", 1.5}, reading{8 * s, "P1/x", pipeline.Bad}), []string{"10s none not ok BAD", "20s none not ok BAD"}},
		{"hold within max_age", BadHold, 9 * s, edges(reading{1 * s, "P1/x", 1.5}, reading{8 * s, "P1/x", pipeline.Bad}), []string{"10s 1.5 not ok UNCERTAIN", "20s none not ok BAD"}},
		{"omit leaves out", BadOmit, 0, edges(reading{1 * s, "P1/x", 1.5}, reading{8 * s, "P1/x", pipeline.Bad}, reading{18 * s, "P1/x", 2.5}), []string{"10s none not ok BAD", "20s 2.5 ok GOOD"}},
		{"use takes the value as it is", BadUse, 0, edges(reading{8 * s, "P1/x", pipeline.Sample{Value: pipeline.Double(3), Quality: pipeline.BadOutOfRange}}), []string{"10s 3 not ok BAD", "20s 3 not ok BAD"}},
		{"wait waits for the good value", BadWait, 0, edges(reading{8 * s, "P1/x", pipeline.Bad}, reading{12 * s, "P1/x", 4.0}), []string{"10s 4 ok GOOD", "20s 4 ok GOOD"}},
		{"uncertain is used and told", BadOmit, 0, edges(reading{8 * s, "P1/x", pipeline.Sample{Value: pipeline.Double(3), Quality: pipeline.UncertainSubNormal}}), []string{"10s 3 ok UNCERTAIN", "20s 3 ok UNCERTAIN"}},
		{"a value of another type is bad", BadOmit, 0, edges(reading{8 * s, "P1/x", "text"}), []string{"10s none not ok BAD", "20s none not ok BAD"}},
		{"never seen is bad", BadHold, 0, edges(), []string{"10s none not ok BAD", "20s none not ok BAD"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := one(t, stationSpec(tt.bad, func(sp *Spec) { sp.Inputs[1].MaxAge = tt.maxAge }), nil)
			w.add(assetPath, 0, batchOf(assetPath, "s", time.Time{}, samplesOf(tt.readings)...))
			w.upto(30 * s)
			if diff := cmp.Diff(tt.want, w.fired()); diff != "" {
				t.Errorf("(-want +got):\n%s\n%+v", diff, w.out.Dead)
			}
		})
	}
}

func samplesOf(readings []reading) (out []pipeline.Sample) {
	for _, r := range readings {
		out = append(out, sampleOf(r))
	}
	return out
}

func TestAWaitThatTheNextTriggerOvertakesIsADeadLetter(t *testing.T) {
	t.Parallel()
	w := one(t, stationSpec(BadWait, nil), nil)
	w.read(reading{0, "P1/ready", false}, reading{10 * s, "P1/ready", true}, reading{15 * s, "P1/ready", false}, reading{20 * s, "P1/ready", true}, reading{21 * s, "P1/x", 4.0})
	w.upto(30 * s)
	if diff := cmp.Diff([]string{"20s 4 ok GOOD"}, w.fired()); diff != "" || len(w.out.Dead) != 1 || w.out.Dead[0].Code != "RULE_WAITED_IN_VAIN" {
		t.Errorf("%s dead %+v", diff, w.out.Dead)
	}
}

func TestTheFirstValueIsNoEdgeAndABadOneInterruptsNone(t *testing.T) {
	t.Parallel()
	w := one(t, stationSpec(BadOmit, nil), nil)
	w.read(reading{0, "P1/ready", true}, reading{2 * s, "P1/ready", pipeline.Bad}, reading{3 * s, "P1/ready", true}, reading{4 * s, "P1/ready", false}, reading{5 * s, "P1/ready", pipeline.Bad}, reading{6 * s, "P1/ready", true})
	w.upto(10 * s)
	if diff := cmp.Diff([]string{"6s none not ok BAD"}, w.fired()); diff != "" {
		t.Error(diff)
	}
}

func TestOnFiresAtEachNewValueAndTellsSkippedNumbers(t *testing.T) {
	t.Parallel()
	w := one(t, &Spec{
		Name: "counted", Inputs: []Input{{Name: src("n"), Type: "int"}},
		Rules: []Rule{{Name: src("part"), On: ptr("n"), Step: 1, Emit: ptr("UnitEvent"), Key: ptr("n"), Set: set("type: LEFT", "station_id=m.name")}},
	}, nil)
	w.read(reading{0, "P1/n", 1}, reading{1 * s, "P1/n", 1}, reading{2 * s, "P1/n", 2}, reading{3 * s, "P1/n", 4}, reading{4 * s, "P1/n", pipeline.Bad}, reading{5 * s, "P1/n", 4})
	w.upto(10 * s)
	var got []string
	for _, e := range w.out.Events {
		got = append(got, e.Key)
	}
	if diff := cmp.Diff([]string{"1", "2", "4"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAFailingRuleIsADeadLetterAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	spec := stationSpec(BadOmit, func(sp *Spec) {
		fail := func(name string, fields ...string) Rule {
			return Rule{Name: src(name), When: ptr("ready"), Emit: ptr("ProductionOrderEvent"), Key: ptr(`"k"`), Set: set(fields...)}
		}
		sp.Contexts = []Context{{Name: src("order"), Type: "text"}}
		sp.Inputs = append(sp.Inputs, Input{Name: src("kind"), Type: "text"})
		sp.Rules = append([]Rule{
			fail("null order", "type: STARTED", "order_id=order"), fail("unknown kind", "type=kind", "order_id: A"), fail("panics", "type: STARTED", "order_id: A"),
			{Name: src("null key"), When: ptr("ready"), Emit: ptr("ProductionOrderEvent"), Key: ptr("order"), Set: set("type: STARTED", "order_id: A")},
		}, sp.Rules...)
	})
	p := must(t, spec)
	p.rules[2].cond = func(*formula.Frame) (bool, bool) { panic("out of a formula") }
	w := newWorld(t, Bound{p, machineOf(spec, "P1", assetPath, nil)})
	w.read(reading{0, "P1/ready", false}, reading{0, "P1/kind", "STRANGE"}, reading{1 * s, "P1/x", 2.0}, reading{2 * s, "P1/ready", true})
	w.upto(10 * s)
	var codes []string
	for _, d := range w.out.Dead {
		codes = append(codes, d.Details["rule"]+" "+d.Code)
	}
	want := []string{"null order RULE_NULL_FIELD", "unknown kind RULE_UNKNOWN_ENUM", "panics RULE_PANIC", "null key RULE_NULL_KEY"}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("%s\n%+v", diff, w.out.Dead)
	}
	if diff := cmp.Diff([]string{"2s 2 ok GOOD"}, w.fired()); diff != "" {
		t.Error(diff)
	}
	d := w.out.Dead[1]
	if d.Details["value.kind"] != "STRANGE (Good)" || d.Details["machine"] != "P1" || len(d.Body) == 0 || d.Stage != "map" || !strings.Contains(d.Reason, "STRANGE") {
		t.Errorf("a dead letter explains: %+v", d)
	}
}

func TestDivisionByZeroAndOverflowAreNullAndCounted(t *testing.T) {
	t.Parallel()
	w := one(t, stationSpec(BadOmit, func(sp *Spec) { sp.Rules[0].Set[2].Value.Items[0].Fields[1] = set("value=1 / x")[0] }), nil)
	w.read(reading{0, "P1/ready", false}, reading{0, "P1/x", 0.0}, reading{1 * s, "P1/ready", true})
	w.upto(10 * s)
	if diff := cmp.Diff([]string{"1s none ok BAD"}, w.fired()); diff != "" || w.out.Overflows != 1 {
		t.Errorf("%s %d", diff, w.out.Overflows)
	}
}

// R10
func TestTheWatermarkIsTheLeastOfTheSourcesAndIdleOnesDoNotCount(t *testing.T) {
	t.Parallel()
	live, idle := inboxv1.SourceState_SOURCE_STATE_LIVE, inboxv1.SourceState_SOURCE_STATE_IDLE
	w := one(t, pressSpec(), nil)
	w.add(assetPath, 0, &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_SourceSet{SourceSet: &inboxv1.SourceSet{SourceIds: []string{"line", "lab"}, AssetPath: assetPath}}})
	check := func(want time.Duration) {
		t.Helper()
		if got := w.e.Watermark(assetPath); !got.Equal(at(want)) {
			t.Errorf("watermark %s, want %s", got, at(want))
		}
	}
	w.add("line", 0, heartbeat("line", at(50*s), live))
	if !w.e.Watermark(assetPath).IsZero() {
		t.Error("a source that was never heard holds the time")
	}
	w.add("lab", 0, heartbeat("lab", at(20*s), live))
	check(18 * s)
	w.add("other", 0, heartbeat("other", at(1*s), live))
	w.add("lab", 0, heartbeat("lab", at(10*s), live)) // never back
	check(18 * s)
	w.add("lab", 0, heartbeat("lab", at(20*s), idle))
	check(48 * s)
	w.add("lab", 0, heartbeat("lab", at(20*s), inboxv1.SourceState_SOURCE_STATE_FILLING))
	check(48 * s)
}

// R7
func TestRepeatsAreToldByPositionAndAcrossSessionsByWhatTheyAre(t *testing.T) {
	t.Parallel()
	w := one(t, pressSpec(), nil)
	x := func(d time.Duration, v int, position uint64, flags pipeline.Flags) pipeline.Sample {
		p := sampleOf(reading{d, "P1/good", v})
		p.Position, p.Flags = position, flags
		return p
	}
	send := func(session string, samples ...pipeline.Sample) {
		w.add(assetPath, 0, batchOf(assetPath, session, time.Time{}, samples...))
	}
	send("a", x(1*s, 1, 5, 0), x(2*s, 2, 6, 0))
	send("a", x(2*s, 2, 6, 0), x(3*s, 3, 7, 0))                                                               // one repeated
	send("b", x(3*s, 3, 1, 0), x(4*s, 4, 2, 0))                                                               // one repeated in another session
	send("b", x(1*s, 1, 1, pipeline.FlagHistorical), x(1500*time.Millisecond, 1, 2, pipeline.FlagHistorical)) // a lane of its own, one repeated
	send("", x(4*s, 4, 0, 0), x(5*s, 5, 0, 0))                                                                // without positions, one repeated
	if w.out.Repeats != 4 || w.out.Samples != 10 {
		t.Errorf("%d repeats of %d samples", w.out.Repeats, w.out.Samples)
	}
}

func TestAWrongClockAheadOfTheArrivalIsReplacedByIt(t *testing.T) {
	t.Parallel()
	w := one(t, stationSpec(BadOmit, nil), nil)
	far := sampleOf(reading{5 * s, "P1/x", 2.0})
	far.At = at(24 * time.Hour)
	w.add(assetPath, 5*s, batchOf(assetPath, "s", time.Time{}, sampleOf(reading{0, "P1/ready", false}), far, sampleOf(reading{8 * s, "P1/ready", true})))
	w.upto(10 * s)
	if diff := cmp.Diff([]string{"8s 2 ok UNCERTAIN"}, w.fired()); diff != "" {
		t.Error(diff)
	}
}
