package engine

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/pipeline"
)

// half a minute of the press, and a restart with what change makes of its mapping.
func restarted(t *testing.T, change func(*Spec)) *world {
	t.Helper()
	w := one(t, pressSpec(), nil)
	w.read(reading{0, "P1/order", "4711"}, reading{0, "P1/good", 10}, reading{0, "P1/scrap", 0}, reading{20 * s, "P1/good", 15}, reading{20 * s, "P1/scrap", 2})
	w.upto(30 * s)
	state := w.e.Snapshot()
	spec := pressSpec()
	change(spec)
	w.bound = []Bound{{must(t, spec), machineOf(spec, "P1", assetPath, nil)}}
	w.e = w.engine()
	if err := w.e.Restore(state); err != nil {
		t.Fatal(err)
	}
	w.read(reading{40 * s, "P1/good", 18})
	w.upto(62 * s)
	return w
}

// R14: a new version keeps the state of what it still has.
func TestADeployKeepsMigratesOrBeginsAnewPerCell(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Spec)
		want   []string
	}{
		{"nothing changed", func(*Spec) {}, []string{"progress 1m0s 4711 8/2"}},
		{"spaces and comments change nothing", func(sp *Spec) {
			sp.Rules[0].Split = []Source{src(" order /* of the line */")}
			sp.Rules[0].If = ptr(`order  !=  ""`)
		}, []string{"progress 1m0s 4711 8/2"}},
		{"another condition keeps the counts", func(sp *Spec) { sp.Rules[0].If = ptr(`order != "x"`) }, []string{"progress 1m0s 4711 8/2"}},
		{"another counter begins anew, the other one stays", func(sp *Spec) { sp.Inputs[0].Counter.Max = 999 }, []string{"progress 1m0s 4711 0/2"}},
		{"a new rule begins now", func(sp *Spec) { sp.Rules[0].Name = src("progress2") }, []string{"progress2 1m0s 4711 3/0"}},
		{"a rule that is gone is forgotten", func(sp *Spec) { sp.Rules = sp.Rules[1:] }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, restarted(t, tt.change).told()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A tag that is new to a mapping may have changed for the last time long ago: its present value, which a subscription
// tells at its begin, holds although it is older than the watermark and was seen by another machine.
func TestANewInputTakesThePresentValue(t *testing.T) {
	t.Parallel()
	w := one(t, stationSpec(BadOmit, nil), nil)
	initial := func(tag string, v any) pipeline.Sample {
		p := sampleOf(reading{1 * s, tag, v})
		p.Flags = pipeline.FlagInitial
		return p
	}
	w.add(assetPath, 0, batchOf(assetPath, "s1", at(100*s), initial("P1/ready", false), initial("P1/x", 2.0)))
	state := w.e.Snapshot()
	press := pressSpec()
	bound := machineOf(press, "P1", assetPath, nil)
	bound.Inputs["done"] = "P1/ready"
	w.bound = append(w.bound, Bound{must(t, press), bound})
	w.e = w.engine()
	if err := w.e.Restore(state); err != nil {
		t.Fatal(err)
	}
	w.out.Reset()
	again := batchOf(assetPath, "s2", at(110*s), initial("P1/ready", false), initial("P1/x", 2.0), initial("P1/order", "4711"), initial("P1/good", 7))
	w.add(assetPath, 0, again)
	w.add(assetPath, 0, again)
	if w.out.Repeats != 5 || len(w.out.Late) != 0 {
		t.Errorf("%d repeats, %d late", w.out.Repeats, len(w.out.Late))
	}
	w.read(reading{115 * s, "P1/good", 9}, reading{116 * s, "P1/ready", true})
	w.upto(122 * s)
	if diff := cmp.Diff([]string{"result 1m56s", "complete 1m56s 4711", "progress 2m0s 4711 2/"}, w.told()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDeltasOnASnapshotAreTheState(t *testing.T) {
	t.Parallel()
	w := one(t, pressSpec(), nil)
	if w.e.Delta() != nil {
		t.Error("a new engine has no changes")
	}
	snapshot := w.e.Snapshot()
	var deltas [][]byte
	for _, r := range pressReadings() {
		w.read(r)
		deltas = append(deltas, w.e.Delta())
	}
	want := w.e.Snapshot()
	other := w.engine()
	if err := other.Restore(snapshot, deltas...); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, other.Snapshot()) {
		t.Error("the snapshot differs")
	}
	if other.Delta() != nil {
		t.Error("a snapshot leaves no changes")
	}
}

func TestBytesThatAreNoStateAreRefused(t *testing.T) {
	t.Parallel()
	w := one(t, pressSpec(), nil)
	w.read(pressReadings()...)
	state := w.e.Snapshot()
	for n := range state {
		if n == 0 {
			continue
		}
		if err := w.engine().Restore(state[:n]); err != nil && !errors.Is(err, errState) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	if err := w.engine().Restore(append([]byte{99}, state...)); !errors.Is(err, errState) {
		t.Errorf("another version: %v", err)
	}
}

func TestFloatsKeepEveryBit(t *testing.T) {
	t.Parallel()
	w := one(t, stationSpec(BadOmit, nil), nil)
	v := 0.1 + 0.2
	w.read(reading{0, "P1/ready", false}, reading{0, "P1/x", v})
	w.upto(5 * s)
	state := w.e.Snapshot()
	w.e = w.engine()
	if err := w.e.Restore(state); err != nil {
		t.Fatal(err)
	}
	if got := w.e.Status(assetPath)[0].Values[1].Value; got != pipeline.Double(v) {
		t.Errorf("got %v", got)
	}
}

func TestAnEngineRefusesMachinesThatDoNotFit(t *testing.T) {
	t.Parallel()
	spec := downloadSpec()
	p := must(t, spec)
	fine := machineOf(spec, "P1", assetPath, nil)
	split := machineOf(spec, "P1", assetPath, nil)
	split.Outputs["target"] = Target{"P1/target", "other"}
	lacking := machineOf(spec, "P1", assetPath, nil)
	delete(lacking.Outputs, "recipe/Speed")
	for name, bound := range map[string][]Bound{
		"two sources in one group": {{p, split}}, "an output without a tag": {{p, lacking}}, "the same machine twice": {{p, fine}, {p, fine}}, "no program": {{nil, fine}},
	} {
		if _, err := New(Config{}, bound); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A second without samples costs nothing; a sample of a known tag few allocations.
func TestApplyAllocatesLittle(t *testing.T) {
	w := one(t, pressSpec(), nil)
	w.read(pressReadings()...)
	w.upto(130 * s)
	rec := batchOf(assetPath, "s9", time.Time{}, sampleOf(reading{131 * s, "P1/good", 12}))
	var out Effects
	n := testing.AllocsPerRun(200, func() {
		out.Reset()
		w.e.Apply(Cause{Record: rec, Key: assetPath, At: at(131 * s)}, &out)
	})
	if n > 2 {
		t.Errorf("%v allocations for a repeated sample", n)
	}
}

// One process runs an engine per partition over the same programs; run with -race.
func TestEnginesShareAProgram(t *testing.T) {
	t.Parallel()
	sp := stationSpec(BadOmit, func(sp *Spec) {
		item := &sp.Rules[0].Set[2].Value.Items[0]
		item.Fields = set("characteristic_id: x", "value: 12.5", "measured_at: 2026-03-02T06:00:00Z")
		sp.Outputs = []Output{{Name: src("ack"), Type: "int"}}
		sp.Rules[0].Ack = []Assign{{src("ack"), literalNode("7")}}
	})
	p := must(t, sp)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			w := newWorld(t, Bound{p, machineOf(sp, "P1", assetPath, nil)})
			for i := range 50 {
				now := time.Duration(i) * s
				w.read(reading{now, "P1/ready", i%2 == 1})
			}
			w.upto(60 * s)
			if len(w.out.Events) != 25 || len(rendered(t, &w.out)) == 0 {
				t.Errorf("%d events", len(w.out.Events))
			}
		})
	}
	group.Wait()
}
