package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

const s = time.Second

func pressReadings() []reading {
	return []reading{
		{0, "P1/order", "4711"}, {0, "P1/good", 65530}, {0, "P1/scrap", 3}, {20 * s, "P1/good", 65535}, {40 * s, "P1/good", 4}, {40 * s, "P1/scrap", 4},
		{50 * s, "P1/good", pipeline.Bad}, {70 * s, "P1/good", 6}, {80 * s, "P1/order", "4712"}, {90 * s, "P1/good", 10},
	}
}

func TestPressCountersBecomeProgressPerOrder(t *testing.T) {
	t.Parallel()
	w := one(t, pressSpec(), nil)
	w.add(assetPath, 0, operationRecord("4711", "M1", "100", 1, false))
	w.read(pressReadings()...)
	w.upto(122 * s) // min_stable keeps the machine two seconds behind
	want := []string{"progress 1m0s 4711 10/1", "progress 1m20s 4711 2/0", "progress 2m0s 4712 4/0"}
	if diff := cmp.Diff(want, w.told()); diff != "" {
		t.Fatalf("events (-want +got):\n%s\ndead: %+v", diff, w.out.Dead)
	}
	first := production(t, w.out.Events[0])
	h := first.GetHeader()
	if first.GetOperationId() != "0010" || production(t, w.out.Events[2]).GetOperationId() != "" {
		t.Error("the operation is that of the order on the machine, and null where it is not known")
	}
	if h.GetScope().GetEnterprise() != "acme" || h.GetScope().GetArea() != "hall3" || h.GetScope().GetLevel() != eventv1.EquipmentLevel_EQUIPMENT_LEVEL_WORK_CENTER {
		t.Errorf("scope %v", h.GetScope())
	}
	if first.GetIntervalStart().AsTime() != at(0) || first.GetIntervalEnd().AsTime() != at(60*s) || first.GetDelta().GetGood().GetUnitCode() != "C62" {
		t.Errorf("interval or unit of %v", first)
	}
	if h.GetSequence() != 1 || production(t, w.out.Events[1]).GetHeader().GetSequence() != 2 || production(t, w.out.Events[2]).GetHeader().GetSequence() != 1 {
		t.Error("sequences are not contiguous per key")
	}
	if len(h.GetEventId()) != 32 || h.GetEventId() != w.out.Events[0].ID || h.GetCorrelationId() != "4711" || h.GetProvenance().GetRuleId() != "progress" || h.GetProvenance().GetMappingDigest() != "d1" {
		t.Errorf("header %v", h)
	}
	if h.GetQuality() != eventv1.Quality_QUALITY_UNCERTAIN { // the newest good reading at 60 s is bad
		t.Errorf("quality %v", h.GetQuality())
	}
}

func TestAnOrderThatFlickersStaysOnThePreviousOne(t *testing.T) {
	t.Parallel()
	w := one(t, pressSpec(), nil)
	w.read(reading{0, "P1/order", "4711"}, reading{0, "P1/good", 0}, reading{10 * s, "P1/order", ""}, reading{11 * s, "P1/order", "4711"}, reading{12 * s, "P1/good", 5},
		reading{20 * s, "P1/order", ""}, reading{21 * s, "P1/order", "4712"}, reading{30 * s, "P1/good", 9})
	w.upto(62 * s)
	want := []string{"progress 21s 4711 5/", "progress 1m0s 4712 4/"}
	if diff := cmp.Diff(want, w.told()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func torqueColumns() map[string]pipeline.Value {
	return map[string]pipeline.Value{"lsl": pipeline.Double(9.5), "usl": pipeline.Double(10.5)}
}

func TestTorqueResultsSettleAndABadValueIsLeftOut(t *testing.T) {
	t.Parallel()
	w := one(t, torqueSpec(), torqueColumns())
	ms := time.Millisecond
	w.read(reading{0, "P1/done", false}, reading{0, "P1/serial", ""}, reading{0, "P1/torque", 0.0},
		reading{1 * s, "P1/done", true}, reading{1150 * ms, "P1/serial", "A-1"}, reading{1150 * ms, "P1/torque", 88.5}, reading{2 * s, "P1/done", false},
		reading{5 * s, "P1/done", true}, reading{5 * s, "P1/serial", "A-2"}, reading{5 * s, "P1/torque", pipeline.BadSensorFailure}, reading{6 * s, "P1/done", false},
		reading{9 * s, "P1/done", true}, reading{9 * s, "P1/serial", "A-3"}, reading{9 * s, "P1/torque", 80.0})
	w.upto(20 * s)
	if len(w.out.Events) != 3 || len(w.out.Commands) != 3 {
		t.Fatalf("%d events, %d commands, dead %+v", len(w.out.Events), len(w.out.Commands), w.out.Dead)
	}
	var verdicts []string
	for _, e := range w.out.Events {
		verdicts = append(verdicts, strings.TrimPrefix(inspection(t, e).GetVerdict().String(), "VERDICT_"))
	}
	if diff := cmp.Diff([]string{"PASS", "NOT_DECIDABLE", "FAIL"}, verdicts); diff != "" {
		t.Error(diff)
	}
	first, second := inspection(t, w.out.Events[0]), inspection(t, w.out.Events[1])
	r := first.GetResults()[0]
	if r.GetValue().GetDoubleValue() != 9.999 || r.GetUnitCode() != "NU" || r.GetLimits().GetUpperSpecification() != 10.5 || first.GetSerialNumbers()[0] != "A-1" {
		t.Errorf("first result %v", first)
	}
	if first.GetHeader().GetOccurredAt().AsTime() != at(1*s) || w.out.Events[0].Key != "A-1" {
		t.Error("the event's time is the edge's")
	}
	if second.GetResults()[0].GetValue() != nil || second.GetHeader().GetQuality() != eventv1.Quality_QUALITY_BAD || second.GetHeader().GetStatusCode() != uint32(pipeline.BadSensorFailure) {
		t.Errorf("second result %v", second)
	}
	c := w.out.Commands[0]
	if !c.GetIdempotent() || c.GetDeadline() != nil || c.GetWrites()[0].GetTagId() != "P1/result_ack" || !c.GetWrites()[0].GetValue().GetBoolValue() || c.GetSourceId() != "line" {
		t.Errorf("acknowledgement %v", c)
	}
}

func fineParameters() []*eventv1.Parameter {
	return []*eventv1.Parameter{parameter("Speed", "0.5", "MTS"), textParameter("Program", "P-1")}
}

// R3
func TestAnOperationIsWrittenWholeAndItsEventWaitsForTheResult(t *testing.T) {
	t.Parallel()
	w := one(t, downloadSpec(), nil)
	w.add(assetPath, 5*s, operationRecord("4711", "M1", "40", 1, false, fineParameters()...))
	if len(w.out.Events) != 0 || len(w.out.Commands) != 1 {
		t.Fatalf("%d events, %d commands, dead %+v", len(w.out.Events), len(w.out.Commands), w.out.Dead)
	}
	c := w.out.Commands[0]
	var writes []string
	for _, x := range c.GetWrites() {
		writes = append(writes, x.GetTagId()+"="+show(x.GetValue()))
	}
	if diff := cmp.Diff([]string{`P1/order_no="4711"`, "P1/target=40", "P1/Speed=30", `P1/Program="P-1"`}, writes); diff != "" {
		t.Error(diff)
	}
	if c.GetDeadline().AsTime() != at(35*s) || c.GetHandshake().GetRequestTagId() != "P1/load" || c.GetHandshake().GetWithinNs() != 10e9 || c.GetIdempotent() || !c.GetReadBack() {
		t.Errorf("command %v", c)
	}
	w.add(assetPath, 7*s, resultRecord(c, inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED, "2"))
	w.add(assetPath, 8*s, resultRecord(c, inboxv1.CommandOutcome_COMMAND_OUTCOME_REFUSED, "2")) // repeated: ignored
	if len(w.out.Events) != 1 {
		t.Fatalf("%d events", len(w.out.Events))
	}
	m := production(t, w.out.Events[0])
	if m.GetType().String() != "PRODUCTION_ORDER_EVENT_TYPE_DOWNLOAD_FAILED" || m.GetReasonCode() != "REFUSED" || m.GetReasonText() != "2" || m.GetOperationId() != "0010" {
		t.Errorf("event %v", m)
	}
	if m.GetHeader().GetRecordedAt().AsTime() != at(7*s) || m.GetHeader().GetOccurredAt().AsTime() != at(5*s) || m.GetHeader().GetCausationId() != "4711/0010/1" {
		t.Errorf("header %v", m.GetHeader())
	}
}

func TestAGroupThatDoesNotFitIsRefusedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		order, quantity, code string
		parameters            []*eventv1.Parameter
	}{
		"a value above its maximum":     {"4711", "100001", "OUT_OF_RANGE", fineParameters()},
		"a quantity with decimals":      {"4711", "1.5", "WRONG_TYPE", fineParameters()},
		"a text that is too long":       {"4711-is-too-long", "40", "TOO_LONG", fineParameters()},
		"a missing parameter":           {"4711", "40", "MISSING_PARAMETER", []*eventv1.Parameter{textParameter("Program", "P-1")}},
		"an unknown parameter":          {"4711", "40", "UNKNOWN_PARAMETER", append(fineParameters(), textParameter("Colour", "red"))},
		"a parameter twice":             {"4711", "40", "UNKNOWN_PARAMETER", append(fineParameters(), fineParameters()...)},
		"a parameter that is too long":  {"4711", "40", "TOO_LONG", []*eventv1.Parameter{parameter("Speed", "0.5", "MTS"), textParameter("Program", "P-100")}},
		"a parameter of another type":   {"4711", "40", "WRONG_TYPE", []*eventv1.Parameter{textParameter("Speed", "fast")}},
		"a parameter of another unit":   {"4711", "40", "WRONG_UNIT", []*eventv1.Parameter{parameter("Speed", "5", "KGM")}},
		"a parameter out of its range":  {"4711", "40", "OUT_OF_RANGE", []*eventv1.Parameter{parameter("Speed", "5", "MTS")}},
		"a parameter without its value": {"4711", "40", "MISSING_VALUE", []*eventv1.Parameter{{Id: "Speed"}}},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := one(t, downloadSpec(), nil)
			w.add(assetPath, 0, operationRecord(tt.order, "M1", tt.quantity, 1, false, tt.parameters...))
			if len(w.out.Commands) != 0 || len(w.out.Events) != 1 {
				t.Fatalf("%d commands, %d events", len(w.out.Commands), len(w.out.Events))
			}
			if m := production(t, w.out.Events[0]); m.GetReasonCode() != "REFUSED" || m.GetReasonText() != tt.code {
				t.Errorf("outcome %s, code %s, want %s", m.GetReasonCode(), m.GetReasonText(), tt.code)
			}
		})
	}
}

// R16
func TestOperationsAreNewChangedOrCancelledAndOldRevisionsDoNothing(t *testing.T) {
	t.Parallel()
	w := one(t, downloadSpec(), nil)
	w.add(assetPath, 1*s, operationRecord("4711", "M1", "40", 1, false, fineParameters()...))
	w.add(assetPath, 2*s, operationRecord("4711", "M1", "40", 1, false, fineParameters()...)) // seen
	w.add(assetPath, 3*s, operationRecord("4711", "M2", "41", 3, false, fineParameters()...))
	w.add(assetPath, 4*s, operationRecord("4711", "M0", "39", 2, false, fineParameters()...)) // overtaken
	w.add(assetPath, 5*s, operationRecord("4711", "M3", "41", 4, true))
	w.add(assetPath, 6*s, operationRecord("4711", "M3", "41", 5, true)) // withdrawn already
	w.add(assetPath, 7*s, operationRecord("9999", "M3", "41", 5, true)) // never known
	w.add(assetPath, 8*s, operationRecord("4711", "M4", "42", 6, false, fineParameters()...))
	if len(w.out.Commands) != 3 || w.out.Stale != 2 {
		t.Errorf("%d commands, %d stale", len(w.out.Commands), w.out.Stale)
	}
	ids := map[string]bool{}
	for _, c := range w.out.Commands {
		ids[c.GetCommandId()] = true
	}
	if len(ids) != 3 {
		t.Error("each revision is a command of its own")
	}
	if len(w.out.Events) != 1 || w.out.Events[0].Rule != "withdrawn" || production(t, w.out.Events[0]).GetReasonText() != "M2" {
		t.Errorf("cancelled: %v", w.told())
	}
}

// R13
func TestThreeMachinesOnOneOrderInTheSameMinuteGiveThreeEvents(t *testing.T) {
	t.Parallel()
	spec := pressSpec()
	p := must(t, spec)
	var bound []Bound
	for _, name := range []string{"P1", "P2", "P3"} {
		bound = append(bound, Bound{p, machineOf(spec, name, "acme/north/hall3/"+name, nil)})
	}
	// A second station of the same mapping in one work centre has its own ids too.
	bound = append(bound, Bound{p, machineOf(spec, "P1b", "acme/north/hall3/P1", nil)})
	w := newWorld(t, bound...)
	for _, b := range bound {
		for _, r := range []reading{{0, "/order", "4711"}, {0, "/good", 0}, {30 * s, "/good", 5}} {
			r.tag = b.Machine.Name + r.tag
			w.add(b.Machine.Asset, r.at, batchOf(b.Machine.Asset, "s1", time.Time{}, sampleOf(r)))
		}
	}
	w.upto(62 * s)
	ids := map[string]bool{}
	for _, e := range w.out.Events {
		ids[e.ID] = true
	}
	if len(w.out.Events) != 4 || len(ids) != 4 {
		t.Errorf("%d events with %d ids: %v", len(w.out.Events), len(ids), w.told())
	}
	a, b := proto.Clone(production(t, w.out.Events[0])).(*eventv1.ProductionOrderEvent), production(t, w.out.Events[1])
	if a.GetHeader().GetEventId() == b.GetHeader().GetEventId() {
		t.Error("two machines, one id")
	}
}
