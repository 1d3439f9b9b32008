package maptest

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/internal/conf"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	at := func(line int) conf.Pos { return conf.Pos{File: "press.map.yaml", Line: line, Column: 5} }
	mixed := &Report{Faults: &conf.Faults{}, Cases: []Case{
		{Mapping: "press", Name: "a roll-over", At: at(10)},
		{Mapping: "press", Name: "a <bad> reading", At: at(20), Failures: []Failure{
			{At: at(23), Message: "event progress at 1m0s differs\n      delta.good: want 10, got 9"},
			{At: at(20), Way: "restart after every record", Message: "missing: event progress at 2m0s"},
		}},
		{Mapping: "torque", Name: "a part", At: conf.Pos{File: "torque.map.yaml", Line: 3, Column: 5}},
	}}
	faulty := &Report{Faults: &conf.Faults{}}
	faulty.Faults.Register("press.map.yaml", []byte("mapping: v2\n"))
	faulty.Faults.Add(conf.Pos{File: "press.map.yaml", Line: 1, Column: 10}, conf.CodeUnknownValue, `"v2" is not a value of "mapping"`, conf.Near("v1"))
	for name, r := range map[string]*Report{
		"mixed": mixed, "faulty": faulty, "empty": {Faults: &conf.Faults{}},
		"passed": {Faults: &conf.Faults{}, Cases: mixed.Cases[:1]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var text, junit bytes.Buffer
			if err := r.Text(&text); err != nil {
				t.Fatal(err)
			}
			if err := r.JUnit(&junit); err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/report/"+name+".txt", text.Bytes())
			golden(t, "testdata/report/"+name+".xml", junit.Bytes())
			if want := name == "passed" || name == "empty"; r.OK() != want {
				t.Errorf("OK is %v", r.OK())
			}
		})
	}
}
