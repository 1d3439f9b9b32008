package maptest

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
)

func TestFieldsAreLookedUpAsTestsWriteThem(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
	lower := 9.5
	m := (&eventv1.QualityEvent{
		Verdict:       eventv1.Verdict_VERDICT_PASS,
		SerialNumbers: []string{"A", "B"},
		Header:        &eventv1.EventHeader{OccurredAt: timestamppb.New(start.Add(90 * time.Second)), Late: true},
		Sample:        &eventv1.Sample{Size: &eventv1.Quantity{Value: "12.50", UnitCode: "C62"}},
		Results: []*eventv1.CharacteristicResult{
			{CharacteristicId: "torque", Value: &eventv1.Value{Kind: &eventv1.Value_DecimalValue{DecimalValue: "1.751"}},
				Limits: &eventv1.Limits{LowerSpecification: &lower}},
			{Value: &eventv1.Value{Kind: &eventv1.Value_ListValue{ListValue: &eventv1.ValueList{Values: []*eventv1.Value{
				{Kind: &eventv1.Value_IntValue{IntValue: 7}}, {Kind: &eventv1.Value_StringValue{StringValue: "x"}}}}}}},
		},
	}).ProtoReflect()
	for path, want := range map[string]string{
		"verdict": "PASS", "serial_numbers": "[A, B]", "serial_numbers.1": "B", "serial_numbers.2": absent,
		"header.occurred_at": "1m30s", "header.late": "true", "header.scope.site": absent, "sample.size": "12.50",
		"sample.size.unit_code": "C62", "results.0.value": "1.751", "results.0.limits.lower_specification": "9.5",
		"results.1.value": "[7, x]", "results.2.value": absent, "order_id": absent, "verdict.x": absent, "results.x": absent,
		"results.0.value.int_value": absent,
	} {
		if got := lookAt(m, path, start); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

func TestValuesAreEqualByMeaning(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, got string
		same      bool
	}{
		{"10", "10.0", true}, {"10", "10.01", false}, {"0.5", ".5", true}, {"PASS", "PASS", true}, {"PASS", "FAIL", false},
		{"60s", "1m0s", true}, {"60s", "61s", false}, {"0017", "17", false}, {"0017", "0017", true}, {"1e1", "10", false},
		{absent, absent, true}, {absent, "1", false}, {"1", absent, false}, {"false", absent, true}, {"0", absent, true},
		{"9007199254740993", "9007199254740992", false}, {"true", "false", false},
	} {
		if got := same(c.want, c.got); got != c.same {
			t.Errorf("same(%q, %q) = %v", c.want, c.got, got)
		}
	}
}
