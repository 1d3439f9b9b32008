package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestTheSpreadOfMeasurementsIsMedianAndEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		values []float64
		want   spread
	}{
		"one value is all three":           {[]float64{5}, spread{5, 5, 5}},
		"an odd number has a middle":       {[]float64{9, 1, 4}, spread{4, 1, 9}},
		"an even number takes the mean":    {[]float64{1, 2, 4, 100}, spread{3, 1, 100}},
		"one outlier does not move it far": {[]float64{10, 11, 5000}, spread{11, 10, 5000}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if !math.IsNaN(spreadOf(nil).Median) {
		t.Error("nothing measured has a median")
	}
	values := []float64{3, 1, 2}
	spreadOf(values)
	if values[0] != 3 {
		t.Error("the measurements were sorted in place")
	}
}

func TestNumbersReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for want, x := range map[string]float64{
		"0": 0, "<0.01": 0.004, "0.25": 0.25, "12.3": 12.34, "123": 123.4, "1,234,568": 1234567.8, "-1,000": -1000, "-": math.NaN(),
	} {
		if got := number(x); got != want {
			t.Errorf("%v reads %s, want %s", x, got, want)
		}
	}
	if got := (spread{11, 10, 5000}).String(); got != "11.0 (10.0 to 5,000)" {
		t.Error(got)
	}
	if got := (spread{11.01, 11, 11.02}).String(); got != "11.0" {
		t.Error(got)
	}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	t.Parallel()
	// The second round was twice as slow for both; the ratio does not see it.
	a, b := []figure{{CPU: 30}, {CPU: 60}}, []figure{{CPU: 10}, {CPU: 20}}
	if got := times(a, b); got != (spread{3, 3, 3}) {
		t.Errorf("%+v", got)
	}
}

func TestUsageIsWhatWasUsedBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	before, after := usage{time.Second, 100, 10, 20, 30}, usage{3 * time.Second, 150, 15, 40, 31}
	if got := after.since(before); got != (usage{2 * time.Second, 150, 5, 20, 1}) {
		t.Errorf("%+v", got)
	}
}

// madeUp are results with figures that can be computed by head.
func madeUp() results {
	r := results{
		Options: options{workload: workload{Machines: 40, Batch: 500, Partitions: 4, CursorBytes: 4096}, Runs: 3, Command: "go run ./examples/bench"},
		Host:    host{CPU: "Test CPU", Cores: 2, MaxProcs: 2, Commit: "abc", Go: "go1", OS: "linux/amd64", Sync: spread{1, 1, 1}, Load: "0 0 0"},
		Truth:   truth{Samples: 1_000_000, IDs: map[string]bool{"a": true, "b": true}}, Events: 100, CorpusOf: 10_000, PerStep: 500,
	}
	for _, a := range arms() {
		m := measuredArm{arm: a}
		for _, cpu := range []time.Duration{2, 4, 5} {
			l := leg{Wall: 10 * time.Second, Roles: usage{CPU: cpu * time.Second}, Broker: usage{CPU: time.Second}, Steps: 2000, Samples: 1_000_000}
			x := run{Legs: []leg{l}, Counts: counts{Samples: 1_000_000, Inbox: 80_000, Events: 2}, Disk: map[string]int64{"inbox.v1": 24_000_000, "mapping.v1": 1}}
			if a.Apart {
				x.Legs = append(x.Legs, l)
			}
			m.Runs = append(m.Runs, x)
		}
		r.Arms = append(r.Arms, m)
	}
	for i, name := range []string{
		stageSource, stageEncode, stageMarshal, stageUnmarshal, stageDecode, stageApply, stageDelta, stageEvent, stageProduce, stageFetch, stageCommit,
	} {
		s := stage{Name: name, Unit: "sample", Remote: i > 7}
		ns := float64(10 * (i + 1))
		if name == stageEvent || name == stageCommit {
			s.Unit, ns = "event", 100*ns
		}
		r.Stages = append(r.Stages, measured{s, []figure{{CPU: ns}, {CPU: ns + 1}, {CPU: ns + 2}}})
	}
	r.Ways = []measured{{stage{Name: "by hand"}, []figure{{CPU: 10}}}, {stage{Name: "by engine"}, []figure{{CPU: 70}}}}
	r.Formulas = r.Ways
	return r
}

func TestThePageShowsEveryFigure(t *testing.T) {
	t.Parallel()
	r := madeUp()
	text := page(r)
	want := []string{
		"| fsync | 10.0 | 100,000 | 4.0 (2.0 to 5.0) | 1.0 | **250,000 (200,000 to 500,000)** | 200,000 (166,667 to 333,333) |",
		"| collect alone, fsync |", "| then map alone, fsync |", "| files of `inbox.v1` | 24.0 |", "80,000 inbox records of 12.5 samples", "of 500 samples beside",
		"| by engine | 70.0 | 0 | 7.0 |", "Test CPU, 2 cores", "`go run ./examples/bench`",
		"4,000 CPU-ns in the roles and 1,000 in the broker, 20 % of the two",
	}
	for _, m := range r.Stages {
		want = append(want, "| "+m.Name+" | "+m.Unit+" |")
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the page lacks %s", w)
		}
	}
	for _, bad := range []string{"%!", "NaN", "Inf", "mapping.v1`"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestThePageSaysWhenTheMachineWasNotIdle(t *testing.T) {
	t.Parallel()
	for load, busy := range map[string]bool{"0.1 3 3": false, "unknown": false, "9.5 9.2 6.7": true} {
		r := madeUp()
		r.Host.Load = load
		if got := strings.Contains(page(r), "was not idle"); got != busy {
			t.Errorf("at load %s it says so: %v", load, got)
		}
	}
}

func TestSharesCountEventsByHowManyASampleGives(t *testing.T) {
	t.Parallel()
	got := map[string]float64{}
	last := math.Inf(1)
	for _, s := range shares(madeUp()) {
		got[s.name] = s.ns
		if s.ns > last {
			t.Errorf("%s stands behind a smaller share", s.name)
		}
		last = s.ns
	}
	for name, ns := range map[string]float64{
		"the step's commit": 110.01, // 11,001 ns per event, one event per 100 samples
		"the engine proper": 10,     // Apply has Decode in it
		"the producer":      91,
	} {
		if math.Abs(got[name]-ns) > 0.001 {
			t.Errorf("%s: %v ns, want %v", name, got[name], ns)
		}
	}
}
