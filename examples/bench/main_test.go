package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// TestMain is the child processes of the tests too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == roleFlag {
		if err := serve(context.Background(), os.Args[2], newParent(os.Stdin, os.Stdout), time.Now); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func tiny() workload {
	return workload{Plant: "../bottling-line", Samples: 20_000, Machines: 8, Batch: 500, Partitions: 2, CursorBytes: 100}
}

func TestEveryWayToRunLeavesTheEventsThatTheEngineGivesByItself(t *testing.T) {
	t.Parallel()
	want, err := expect(tiny())
	if err != nil {
		t.Fatal(err)
	}
	if want.Samples <= tiny().Samples || len(want.IDs) < 100 {
		t.Fatalf("the workload gives %d events of %d samples", len(want.IDs), want.Samples)
	}
	for _, a := range arms()[1:] {
		r, err := runArm(t.Context(), a, tiny(), want, t.TempDir(), time.Now) // counts for itself
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range r.Legs {
			if l.Wall <= 0 || l.Roles.CPU <= 0 || l.Broker.CPU <= 0 || l.Roles.PeakRSS <= 0 {
				t.Errorf("%s: something was not measured: %+v", a.Name, l)
			}
		}
		if r.perStep() < 1 || r.Disk["inbox.v1"] == 0 || r.Disk["event.production.v1"] == 0 {
			t.Errorf("%s: something was not counted: %+v", a.Name, r)
		}
	}
}

func TestARunThatLostOrRepeatedSomethingIsRefused(t *testing.T) {
	t.Parallel()
	want := truth{Samples: 10, IDs: map[string]bool{"a": true, "b": true}}
	for name, n := range map[string]counts{
		"a sample is missing": {Samples: 9, Events: 2}, "an event is missing": {Samples: 10, Events: 1}, "an event is there twice": {Samples: 10, Events: 3, Repeated: 1},
	} {
		if n.check(want) == nil {
			t.Errorf("%s: nothing was said", name)
		}
	}
	if err := (counts{Samples: 10, Events: 2}).check(want); err != nil {
		t.Error(err)
	}
}

func TestEqualSettingsGiveEqualSamplesInOrderOfTime(t *testing.T) {
	t.Parallel()
	all := func(batch int) (out []pipeline.Sample) {
		f := newFleet(5)
		for range 5000 / batch {
			out = f.next(out, batch)
		}
		return append(out, f.tail()...)
	}
	a, b := all(500), all(50)
	if diff := cmp.Diff(a, b, cmp.Comparer(func(x, y pipeline.Value) bool { return x == y })); diff != "" {
		t.Fatal(diff)
	}
	for i := 1; i < len(a); i++ {
		if a[i].At.Before(a[i-1].At) || a[i].Position != a[i-1].Position+1 {
			t.Fatalf("sample %d stands out of order", i)
		}
	}
}

func TestTheStagesAndTheComparisonsDoTheSameWork(t *testing.T) {
	t.Parallel()
	client, err := kafka.Open(kafka.Config{Brokers: []string{"127.0.0.1:1"}, Namespace: namespace, Partitions: 2, Embedded: true, Log: quiet(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := newCorpus(tiny(), 20_000, 500, client)
	if err != nil {
		t.Fatal(err)
	}
	ways, err := c.comparisons()
	if err != nil {
		t.Fatal(err)
	}
	formulas, err := evaluations(c.set)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range slices.Concat(c.pure(client), ways, formulas) {
		if err := s.once(); err != nil { // each compares with what the engine gave
			t.Errorf("%s: %v", s.Name, err)
		}
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-samples", "0"}, {"-machines", "1000"}, {"-runs", "0"}, {"-nonsense"}} {
		if _, _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	o, write, err := parse([]string{"-write", "x.md", "-runs", "5"}, io.Discard)
	if err != nil || write != "x.md" || o.Runs != 5 || o.Samples != 2_000_000 || o.Machines != 40 || o.Batch != 500 {
		t.Errorf("%+v, %q, %v", o, write, err)
	}
}
