package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
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
	for _, a := range arms()[1:] {
		r, err := runArm(t.Context(), a, tiny(), want, t.TempDir(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %+v", a.Name, r)
	}
}
