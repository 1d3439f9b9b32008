package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// plant is a machine of each example mapping on one asset.
func plant(t testing.TB) []Bound {
	t.Helper()
	press, torque, download := pressSpec(), torqueSpec(), downloadSpec()
	return []Bound{
		{must(t, press), machineOf(press, "P1", assetPath, nil)},
		{must(t, torque), machineOf(torque, "P1", assetPath, torqueColumns())},
		{must(t, download), machineOf(download, "P1", assetPath, nil)},
	}
}

// rendered is all that a log gave, as bytes.
func rendered(t testing.TB, out *Effects) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, e := range out.Events {
		fmt.Fprintf(&b, "%s %s %s %s %s %s %x\n", e.ID, e.Type, e.Key, e.At, e.Rule, e.Asset, e.Body)
	}
	for _, c := range out.Commands {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%x\n", body)
	}
	for _, d := range out.Dead {
		fmt.Fprintf(&b, "%s %s %v\n", d.Code, d.Reason, d.Details)
	}
	return b.Bytes()
}

// drawReadings draws what the tags of the plant do in two minutes: one value of a tag per instant.
func drawReadings(t *rapid.T) (out []reading) {
	taken := map[string]bool{}
	good, scrap := rapid.IntRange(65000, 65535).Draw(t, "good"), 0
	for range rapid.IntRange(5, 60).Draw(t, "readings") {
		ms := rapid.IntRange(0, 1200).Draw(t, "at") * 100
		out = append(out, reading{at: time.Duration(ms) * time.Millisecond})
	}
	slices.SortStableFunc(out, func(a, b reading) int { return int(a.at - b.at) })
	for i := range out {
		r := &out[i]
		switch rapid.IntRange(0, 9).Draw(t, "tag") {
		case 0, 1:
			good = (good + rapid.IntRange(0, 20).Draw(t, "pieces")) % 65536
			r.tag, r.value = "P1/good", good
		case 2:
			scrap += rapid.IntRange(0, 2).Draw(t, "pieces")
			r.tag, r.value = "P1/scrap", scrap
		case 3, 4:
			r.tag, r.value = "P1/order", rapid.SampledFrom([]string{"", "4711", "4712"}).Draw(t, "order")
		case 5, 6:
			r.tag, r.value = "P1/done", rapid.Bool().Draw(t, "done")
		case 7:
			r.tag, r.value = "P1/serial", "A-"+strconv.Itoa(i)
		case 8:
			r.tag, r.value = "P1/torque", rapid.Float64Range(70, 100).Draw(t, "torque")
		default:
			r.tag, r.value = rapid.SampledFrom([]string{"P1/good", "P1/torque", "P1/done", "P1/order"}).Draw(t, "bad tag"), pipeline.BadSensorFailure
		}
		if k := fmt.Sprint(r.tag, r.at); taken[k] {
			r.tag = ""
		} else {
			taken[k] = true
		}
	}
	return slices.DeleteFunc(out, func(r reading) bool { return r.tag == "" })
}

// drawLog makes a log of readings with positions, operations, heartbeats and a result.
func drawLog(t *rapid.T) (log []Cause) {
	add := func(key string, d time.Duration, r *inboxv1.InboxRecord) {
		log = append(log, Cause{Record: r, Key: key, Offset: int64(len(log)), At: at(d)})
	}
	session := 0
	for i, r := range drawReadings(t) {
		x := sampleOf(r)
		if session == 0 || rapid.IntRange(0, 20).Draw(t, "reconnect") == 0 {
			session++
		}
		x.Position = uint64(i + 1)
		var w time.Time
		if rapid.Bool().Draw(t, "promise") {
			w = at(r.at)
		}
		add(assetPath, r.at, batchOf(assetPath, fmt.Sprint("s", session), w, x))
		if rapid.IntRange(0, 8).Draw(t, "operation") == 0 {
			add(assetPath, r.at, operationRecord(rapid.SampledFrom([]string{"4711", "4712"}).Draw(t, "order"), "M", "40", uint64(i+1), rapid.IntRange(0, 4).Draw(t, "withdrawn") == 0, fineParameters()...))
		}
		if rapid.IntRange(0, 4).Draw(t, "heartbeat") == 0 {
			add("line", r.at, heartbeat("line", at(r.at), inboxv1.SourceState_SOURCE_STATE_LIVE))
		}
	}
	add("line", 125*s, heartbeat("line", at(125*s), inboxv1.SourceState_SOURCE_STATE_LIVE))
	return log
}

// R5, R7, R13: whatever restarts come, however they restore, and whatever is sent again, the log gives the same bytes.
func TestCutsRestoresAndResendsChangeNothing(t *testing.T) {
	t.Parallel()
	bound := plant(t)
	rapid.Check(t, func(rt *rapid.T) {
		log := drawLog(rt)
		plain := newWorld(t, bound...)
		results := map[int]Cause{} // results of commands follow at drawn places
		var want Effects
		for i := 0; i < len(log); i++ {
			before := len(want.Commands)
			plain.e.Apply(log[i], &want)
			for _, c := range want.Commands[before:] {
				if !c.GetIdempotent() && rapid.Bool().Draw(rt, "answer") {
					x := Cause{Record: resultRecord(c, inboxv1.CommandOutcome_COMMAND_OUTCOME_DONE, ""), Key: assetPath, At: log[i].At.Add(time.Millisecond)}
					results[i] = x
					log = slices.Insert(log, i+1, x)
				}
			}
		}
		w := newWorld(t, bound...)
		var got Effects
		var snapshot []byte
		var deltas [][]byte
		for i := range log {
			w.e.Apply(log[i], &got)
			switch rapid.IntRange(0, 5).Draw(rt, "then") {
			case 0:
				snapshot, deltas = w.e.Snapshot(), nil
			case 1:
				deltas = append(deltas, w.e.Delta())
				now := w.e.Snapshot()
				if w.e = w.engine(); w.e.Restore(snapshot, deltas...) != nil {
					rt.Fatal("the state cannot be read")
				}
				if again := w.e.Snapshot(); !bytes.Equal(now, again) {
					rt.Fatalf("the state is another one after a restore: %d and %d bytes", len(now), len(again))
				}
				snapshot, deltas = now, nil
			case 2:
				for j := rapid.IntRange(0, i).Draw(rt, "from"); j <= i; j++ { // everything since then again
					if log[j].Record.GetHeartbeat() == nil {
						w.e.Apply(log[j], &got)
					}
				}
			case 3:
				deltas = append(deltas, w.e.Delta())
			}
		}
		for i := range log {
			w.e.Apply(log[i], &got)
		}
		if a, b := rendered(t, &want), rendered(t, &got); !bytes.Equal(a, b) {
			rt.Fatalf("want %d events, %d commands, %d dead letters\n%s\ngot %d, %d, %d\n%s", len(want.Events), len(want.Commands), len(want.Dead), a, len(got.Events), len(got.Commands), len(got.Dead), b)
		}
		if got.Late != nil {
			rt.Fatalf("repeats count as late: %v", got.Late)
		}
	})
}

// R10: any order of arrival within the lateness gives the same events with the same ids.
func TestArrivalOrderWithinTheLatenessChangesNothing(t *testing.T) {
	t.Parallel()
	bound := plant(t)
	rapid.Check(t, func(rt *rapid.T) {
		readings := drawReadings(rt)
		play := func(delays []time.Duration) ([]byte, *Effects) {
			type arrival struct {
				at time.Duration
				r  *inboxv1.InboxRecord
			}
			var list []arrival
			for i, r := range readings {
				x := sampleOf(r)
				x.Seen = time.Time{}
				list = append(list, arrival{r.at + delays[i], batchOf(assetPath, "s1", time.Time{}, x)})
			}
			for d := time.Duration(0); d <= 125*s; d += s {
				list = append(list, arrival{d, heartbeat("line", at(d), inboxv1.SourceState_SOURCE_STATE_LIVE)})
			}
			slices.SortStableFunc(list, func(a, b arrival) int { return int(a.at - b.at) })
			w := newWorld(t, bound...)
			for _, a := range list {
				key := assetPath
				if a.r.GetHeartbeat() != nil {
					key = "line"
				}
				w.add(key, a.at, a.r)
			}
			return rendered(t, &w.out), &w.out
		}
		delays := make([]time.Duration, len(readings))
		want, _ := play(delays)
		for i := range delays {
			delays[i] = time.Duration(rapid.IntRange(0, 1999).Draw(rt, "delay")) * time.Millisecond
		}
		got, out := play(delays)
		if len(out.Late) > 0 {
			rt.Fatalf("late: %v", out.Late)
		}
		if !bytes.Equal(want, got) {
			rt.Fatalf("in order:\n%s\nout of order:\n%s", want, got)
		}
	})
}

// A counter that never exceeds its rate is counted exactly, whatever roll-overs and bad readings come: each interval
// has what was counted between the last readings in front of its borders.
func TestDeltasAreThoseOfABatchOverTheTrueCounts(t *testing.T) {
	t.Parallel()
	spec := pressSpec()
	bound := Bound{must(t, spec), machineOf(spec, "P1", assetPath, nil)}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, bound)
		type point struct {
			at    time.Duration
			count int
		}
		begin := rapid.IntRange(0, 65535).Draw(rt, "begin")
		points := []point{{0, 0}}
		w.read(reading{0, "P1/order", "4711"}, reading{0, "P1/good", begin})
		now, count := time.Duration(0), 0
		for range rapid.IntRange(1, 60).Draw(rt, "readings") {
			gap := time.Duration(rapid.IntRange(1, 55_000).Draw(rt, "gap")) * time.Millisecond
			now += gap
			count += rapid.IntRange(0, int(gap.Seconds()*50)).Draw(rt, "pieces")
			if rapid.IntRange(0, 5).Draw(rt, "bad") == 0 && gap < 5*s {
				w.read(reading{now, "P1/good", pipeline.BadCommunicationError})
				count = points[len(points)-1].count // the next good reading tells of what is counted since the last one
				now -= gap
				now += gap
				continue
			}
			points = append(points, point{now, count})
			w.read(reading{now, "P1/good", (begin + count) % 65536})
		}
		end := now.Truncate(time.Minute) + time.Minute
		w.upto(end + 2*s)
		until := func(d time.Duration) (n int) {
			for _, p := range points {
				if p.at < d {
					n = p.count
				}
			}
			return n
		}
		var want []string
		for d := time.Minute; d <= end; d += time.Minute {
			want = append(want, fmt.Sprintf("progress %s 4711 %d/", d, until(d)-until(d-time.Minute)))
		}
		if got := w.told(); !slices.Equal(want, got) {
			rt.Fatalf("want %v\ngot %v", want, got)
		}
		if w.out.Estimated != 0 {
			rt.Fatalf("%d estimates", w.out.Estimated)
		}
	})
}
