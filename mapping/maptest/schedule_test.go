package maptest

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plantloom/plantloom/mapping"
)

func TestNoArrivalOrderMakesASampleLate(t *testing.T) { // R10
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		test := &mapping.Test{}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			at := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "at"))
			test.Given = append(test.Given, mapping.Step{At: at, Arrive: at, Readings: make([]mapping.Reading, 1)})
		}
		seed := rapid.Uint64Range(0, 9).Draw(t, "seed")
		watermark, steps := time.Duration(-1<<62), 0
		var plain []time.Duration
		for _, e := range schedule(test, 0, seed) {
			if e.step == nil {
				if e.watermark < watermark {
					t.Fatalf("the watermark falls from %s to %s", watermark, e.watermark)
				}
				watermark = e.watermark
				plain = append(plain, e.arrive)
				continue
			}
			steps++
			if e.step.At < watermark-lateness {
				t.Fatalf("a sample of %s arrives behind the watermark %s", e.step.At, watermark)
			}
		}
		if steps != len(test.Given) {
			t.Fatalf("%d of %d steps are played", steps, len(test.Given))
		}
		if watermark <= test.Duration()+lateness {
			t.Fatalf("time ends at %s, the test at %s", watermark, test.Duration())
		}
		i := 0
		for _, e := range schedule(test, 0, 0) {
			if e.step == nil {
				if e.arrive != plain[i] {
					t.Fatal("heartbeats come at other times in another arrival order")
				}
				i++
			}
		}
	})
}

func TestALateSampleStaysLateInEveryArrivalOrder(t *testing.T) {
	t.Parallel()
	test := &mapping.Test{Given: []mapping.Step{
		{At: 0, Arrive: 0, Readings: make([]mapping.Reading, 1)},
		{At: time.Second, Arrive: 30 * time.Second, Late: true, Readings: make([]mapping.Reading, 1)},
	}}
	for seed := range uint64(5) {
		for _, e := range schedule(test, 0, seed) {
			if e.step == &test.Given[1] && e.arrive != 30*time.Second {
				t.Errorf("with seed %d it arrives at %s", seed, e.arrive)
			}
		}
	}
}
