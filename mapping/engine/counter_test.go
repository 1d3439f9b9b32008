package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCounterStepsByPlausibility(t *testing.T) {
	t.Parallel()
	sixteen := Counter{Max: 65535, MaxGap: time.Minute, Slack: 1}
	with := func(change func(*Counter)) *Counter { c := sixteen; change(&c); return &c }
	tests := []struct {
		name      string
		counter   *Counter
		p, c      int64
		limit     float64
		gap       time.Duration
		want      int64
		estimated bool
	}{
		{"forward within the rate counts", &sixteen, 100, 120, 51, s, 20, false},
		{"no change counts nothing", &sixteen, 100, 100, 51, s, 0, false},
		{"forward beyond the rate is a new base", &sixteen, 100, 5000, 51, s, 0, true},
		{"a roll-over counts on", &sixteen, 65530, 4, 51, s, 10, false},
		{"a drop that is no roll-over is a new base", &sixteen, 1000, 700, 51, s, 0, true},
		{"a drop to near zero is a reset where resets are allowed", with(func(c *Counter) { c.Resets = ResetsAny }), 1000, 3, 51, s, 3, true},
		{"a roll-over wins over a reset", with(func(c *Counter) { c.Resets = ResetsAny }), 65534, 3, 51, s, 5, false},
		{"a reset beyond the rate is a new base", with(func(c *Counter) { c.Resets = ResetsAny }), 1000, 300, 51, s, 0, true},
		{"after a long gap the smaller of two plausible steps counts", with(func(c *Counter) { c.Resets = ResetsAny }), 500, 3, 75001, 25 * time.Minute, 3, true},
		{"after a long gap hold counts nothing", with(func(c *Counter) { c.Resets = ResetsAny; c.Ambiguous = "hold" }), 500, 3, 75001, 25 * time.Minute, 0, true},
		{"after a long gap a roll-over alone is plausible where nothing resets", &sixteen, 500, 3, 75001, 25 * time.Minute, 65039, true},
		{"a counter that begins at one rolls over to one", &Counter{Min: 1, Max: 999, MaxGap: time.Minute, Slack: 1}, 998, 2, 51, s, 3, false},
		{"a value out of the range is a new base", &sixteen, 65530, 70000, 51, s, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, estimated := step(tt.counter, tt.p, tt.c, tt.limit, tt.gap)
			if n != tt.want || estimated != tt.estimated {
				t.Errorf("got %d, %v; want %d, %v", n, estimated, tt.want, tt.estimated)
			}
		})
	}
}

// R12: a late sample goes out as such, and the next delta is right all the same.
func TestALateSampleIsToldAndNeverSubtracts(t *testing.T) {
	t.Parallel()
	w := one(t, pressSpec(), nil)
	w.read(reading{0, "P1/order", "4711"}, reading{0, "P1/good", 100}, reading{20 * s, "P1/good", 120})
	w.upto(40 * s)
	w.read(reading{10 * s, "P1/good", 110}, reading{45 * s, "P1/good", 125})
	w.upto(62 * s)
	if len(w.out.Late) != 1 || !w.out.Late[0].At.Equal(at(10*s)) {
		t.Errorf("late %v", w.out.Late)
	}
	if diff := cmp.Diff([]string{"progress 1m0s 4711 25/"}, w.told()); diff != "" {
		t.Error(diff)
	}
	if w.e.Watermark(assetPath) != at(62*s) {
		t.Errorf("watermark %s", w.e.Watermark(assetPath))
	}
}

func TestASampleAtABorderBelongsToTheNewInterval(t *testing.T) {
	t.Parallel()
	spec := pressSpec()
	spec.Contexts[0].MinStable = 0
	w := one(t, spec, nil)
	w.read(reading{0, "P1/order", "4711"}, reading{0, "P1/good", 0}, reading{60 * s, "P1/good", 7}, reading{80 * s, "P1/good", 9}, reading{80 * s, "P1/order", "4712"})
	w.upto(121 * s)
	want := []string{"progress 1m0s 4711 0/", "progress 1m20s 4711 7/", "progress 2m0s 4712 2/"}
	if diff := cmp.Diff(want, w.told()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIfRefusesIsUnbookedAndNeverTheNextOrders(t *testing.T) {
	t.Parallel()
	w := one(t, pressSpec(), nil)
	w.read(reading{0, "P1/order", ""}, reading{0, "P1/good", 0}, reading{30 * s, "P1/good", 5}, reading{40 * s, "P1/order", "4711"}, reading{50 * s, "P1/good", 8})
	w.upto(64 * s)
	if diff := cmp.Diff([]string{"progress 1m0s 4711 3/"}, w.told()); diff != "" {
		t.Error(diff)
	}
	st := w.e.Status(assetPath)[0]
	if diff := cmp.Diff(map[string]string{"progress/good": "5"}, st.Unbooked); diff != "" || w.out.Unbooked != 1 {
		t.Errorf("unbooked: %s, %d", diff, w.out.Unbooked)
	}
	if st.Contexts["order"] != "4711" || st.Values[0].Value.AsInt() != 8 {
		t.Errorf("status %+v", st)
	}
}

func TestAJumpOfACounterIsEstimatedAndUncertain(t *testing.T) {
	t.Parallel()
	w := one(t, pressSpec(), nil)
	w.read(reading{0, "P1/order", "4711"}, reading{0, "P1/scrap", 0}, reading{0, "P1/good", 1000}, reading{2 * s, "P1/good", 1004}, reading{12 * s, "P1/good", 700}, reading{14 * s, "P1/good", 701})
	w.upto(62 * s)
	m := production(t, w.out.Events[0])
	if m.GetDelta().GetGood().GetValue() != "5" || !m.GetHeader().GetEstimated() || m.GetHeader().GetQuality().String() != "QUALITY_UNCERTAIN" {
		t.Errorf("event %v", m)
	}
	w.upto(122 * s)
	if m := production(t, w.out.Events[1]); m.GetHeader().GetEstimated() || m.GetDelta().GetGood().GetValue() != "0" {
		t.Errorf("the next interval is not estimated: %v", m)
	}
}

func TestALongSilenceIsOneInterval(t *testing.T) {
	t.Parallel()
	w := one(t, pressSpec(), nil)
	w.read(reading{0, "P1/order", "4711"}, reading{0, "P1/good", 0}, reading{10 * s, "P1/good", 4})
	w.upto(20 * 365 * 24 * time.Hour)
	if n := len(w.out.Events); n != 2 {
		t.Errorf("%d events for twenty years of silence", n)
	}
}
