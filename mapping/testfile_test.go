package mapping

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
)

const testHead = station + "tests:\n"

func parseText(t *testing.T, text string) (*Mapping, []string) {
	t.Helper()
	var faults conf.Faults
	m := newLoader(plantDir(nil), "", &faults).parseMapping("station.map.yaml", []byte(text))
	var got []string
	for _, f := range faults.All() {
		got = append(got, fmt.Sprintf("%d:%d %s", f.Pos.Line-strings.Count(testHead, "\n"), f.Pos.Column, strings.TrimPrefix(f.Error(), f.Pos.String()+": ")))
	}
	return m, got
}

func TestATestIsBoundToItsOwnMachine(t *testing.T) {
	t.Parallel()
	m, faults := parseText(t, testHead+`  - name: one
    machine: {plc: "0017", limit: 1.5}
    start: 2026-01-02T03:04:05Z
    given:
      - {at: 1s, arrive: 3s, done: true, part: bad}
      - {at: 2s, part: "bad", done: {value: true, status: UncertainSubNormal}}
      - {at: 3s, order: {order_id: "4711", parameters: {a: 1, b: {value: "0", unit: LTR}}, withdrawn: true}}
      - {at: 4s, reply: {outcome: REFUSED, code: "3", rule: result}, restart: true}
    expect:
      - {at: 1s, event: result, verdict: PASS}
`)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	got := m.Tests[0]
	for i := range got.Given {
		got.Given[i].Pos = conf.Pos{}
	}
	text := pipeline.Text
	want := Test{
		Name: "one", At: got.At, Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Expect: got.Expect,
		Machine: engine.Machine{
			Name: "M1", Asset: "test/site/area/M1", Sources: []string{TestSource},
			Columns: map[string]pipeline.Value{"name": text("M1"), "asset": text("test/site/area/M1"), "plc": text("0017"), "limit": pipeline.Double(1.5)},
			Inputs:  map[string]string{"done": "0017/Done", "part": "0017/Part"}, Outputs: map[string]engine.Target{},
		},
		Given: []Step{
			{At: time.Second, Arrive: 3 * time.Second, Late: true, Readings: []Reading{
				{Tag: "0017/Done", Value: pipeline.Bool(true)}, {Tag: "0017/Part", Quality: pipeline.Bad}}},
			{At: 2 * time.Second, Arrive: 2 * time.Second, Readings: []Reading{
				{Tag: "0017/Part", Value: text("bad")}, {Tag: "0017/Done", Value: pipeline.Bool(true), Quality: pipeline.UncertainSubNormal}}},
			{At: 3 * time.Second, Arrive: 3 * time.Second, Order: &Order{OrderID: "4711", Operation: "0010", Quantity: "1", Unit: "C62", Withdrawn: true,
				Parameters: []Parameter{{ID: "a", Value: "1"}, {ID: "b", Value: "0", Unit: "LTR", Text: true}}}},
			{At: 4 * time.Second, Arrive: 4 * time.Second, Reply: &Reply{Rule: "result", Outcome: "REFUSED", Code: "3"}, Restart: true},
		},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b pipeline.Value) bool { return a == b }), cmp.Comparer(func(a, b *conf.Node) bool { return a == b })); diff != "" {
		t.Errorf("test (-want +got):\n%s", diff)
	}
}

func TestFaultsOfTestsNameTheirPlace(t *testing.T) {
	t.Parallel()
	const head = "  - name: one\n    machine: {plc: P, limit: 1}\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing given":          {head + "    expect: []\n", `1:5 this entry lacks the key "given"`},
		"two kinds":              {head + "    given: []\n    expect: [{at: 0s, event: result, dead: result}]\n", `4:38 the expectation already has "event"`},
		"no kind":                {head + "    given: []\n    expect: [{at: 0s}]\n", `4:14 the expectation lacks the key "event"`},
		"an unknown status":      {head + "    given: [{at: 0s, done: {status: BadSensorFailur}}]\n    expect: []\n", `3:37 "BadSensorFailur" is not a status code that tests know; did you mean "BadSensorFailure"?`},
		"a later step":           {head + "    given: [{at: 0s, entry: {}}]\n    expect: []\n", `3:22 "entry" is a later feature: it comes with operator entries`},
		"an unknown outcome":     {head + "    given: [{at: 0s, reply: {outcome: OK}}]\n    expect: []\n", `3:39 "OK" is not a value of "outcome"`},
		"a value of no type":     {head + "    given: [{at: 0s, done: 1}]\n    expect: []\n", `3:28 "done" wants true or false, not "1"; did you mean "true"?`},
		"the same name twice":    {head + "    given: []\n    expect: []\n" + head + "    given: []\n    expect: []\n", `5:11 a second test is named "one"`},
		"a path too deep":        {head + "    given: []\n    expect: [{at: 0s, event: result, verdict.x: 1}]\n", `4:38 nothing is below "verdict.x"`},
		"a column is missing":    {"  - name: one\n    machine: {plc: P}\n    given: []\n    expect: []\n", `2:5 "machine" lacks the column "limit"`},
		"a time before the test": {head + "    given: [{at: -1s}]\n    expect: []\n", `3:18 "-1s" is out of range`},
		"a time without a unit":  {head + "    given: [{at: 5}]\n    expect: []\n", `3:18 "at": duration "5" has no unit`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got := parseText(t, testHead+c.text)
			if diff := cmp.Diff([]string{c.want}, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
