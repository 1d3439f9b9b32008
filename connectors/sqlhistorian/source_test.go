package sqlhistorian

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/pipelinetest"
)

// follow runs a source on the history and returns what it delivered so far
// whenever n samples are there; the second function ends it.
func follow(t *testing.T, g *gateway, cursor []byte) (rec *pipelinetest.Recorder, stop func()) {
	t.Helper()
	rec = pipelinetest.NewRecorder(t)
	source := g.Source(t)
	ctx, done := t.Context(), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() { done <- source.Run(ctx, cursor, rec) }()
	return rec, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// wantSamples waits until exactly these samples, as "tag=value@second", came in
// this order.
func wantSamples(t *testing.T, rec *pipelinetest.Recorder, want ...string) {
	t.Helper()
	var got []string
	rec.Await(5*time.Second, func() bool {
		got = got[:0]
		for _, s := range rec.Samples() {
			got = append(got, brief(s))
		}
		return len(got) >= len(want)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("samples (-want +got):\n%s", diff)
	}
}

func brief(s pipeline.Sample) string {
	return fmt.Sprintf("%s=%s@%d", s.Tag, s.Value, s.At.Sub(at(0))/time.Second)
}

// polls waits until the source has read the end of the history n times more.
func polls(t *testing.T, rec *pipelinetest.Recorder, n int) {
	t.Helper()
	count := func() int {
		live := 0
		for _, b := range rec.Batches() {
			if b.State == pipeline.StateLive {
				live++
			}
		}
		return live
	}
	begin := count()
	if !rec.Await(5*time.Second, func() bool { return count() >= begin+n }) {
		t.Fatal("the source does not poll")
	}
}

func TestRowsThatComeLateWithinTheOverlapAreDelivered(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.row(t, march, 1, at(40), 1)
	rec, stop := follow(t, g, nil)
	defer stop()
	wantSamples(t, rec, "L/A=1@40")
	g.row(t, march, 2, at(11), 2) // 29 s before the newest row
	g.row(t, march, 2, at(9), 3)  // 31 s before: beyond the overlap of 30 s
	polls(t, rec, 3)
	wantSamples(t, rec, "L/A=1@40", "L/B=2@11")
}

// R7: what the cursor carries keeps a restart from delivering the overlap again.
func TestARestartDeliversNothingTwiceAndMissesNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for n := range 20 {
		g.row(t, march, 1, at(n), n)
	}
	rec, stop := follow(t, g, nil)
	rec.Await(5*time.Second, func() bool { return len(rec.Samples()) == 20 })
	stop()
	g.row(t, march, 2, at(5), 5) // late
	g.row(t, march, 1, at(20), 20)
	rec, stop = follow(t, g, rec.Cursor())
	defer stop()
	wantSamples(t, rec, "L/B=5@5", "L/A=20@20")
	polls(t, rec, 3)
	wantSamples(t, rec, "L/B=5@5", "L/A=20@20")
}

// R11: what was missed is filled in the order of time, marked, with a watermark
// that never promises more than is read.
func TestAnOutageIsFilledFromTheCursor(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.conf.Page = 50
	g.row(t, march, 1, at(0), 0)
	rec, stop := follow(t, g, nil)
	wantSamples(t, rec, "L/A=0@0")
	stop()
	cursor := rec.Cursor()
	for n := 1; n <= 300; n++ {
		g.row(t, march, 1+n%2, at(10*n), n)
	}
	g.setClock(at(3000).Add(30 * time.Second))
	rec, stop = follow(t, g, cursor)
	defer stop()
	rec.Await(5*time.Second, func() bool { return len(rec.Samples()) == 300 })
	samples := rec.Samples()
	if len(samples) != 300 {
		t.Fatalf("%d samples came, want 300", len(samples))
	}
	for i, s := range samples {
		if got, want := s.Value.AsInt(), int64(i+1); got != want {
			t.Fatalf("sample %d is %d", want, got)
		}
		if old := at(3030).Sub(s.At) > 10*time.Minute; old != (s.Flags&pipeline.FlagHistorical != 0) {
			t.Errorf("%s is historical: %v", brief(s), !old)
		}
	}
	filling := 0
	for _, b := range rec.Batches() {
		if b.State == pipeline.StateFilling {
			filling++
			if last := b.Samples[len(b.Samples)-1].At; b.Watermark.Before(last) || b.Watermark.After(last.Add(20*time.Second)) {
				t.Errorf("while filling up to %v the watermark is %v", last, b.Watermark)
			}
		}
	}
	if filling < 5 {
		t.Errorf("%d batches of pages of 50 rows are marked as filling", filling)
	}
	polls(t, rec, 2)
	batches := rec.Batches()
	if got, want := batches[len(batches)-1].Watermark, at(3020); !got.Equal(want) {
		t.Errorf("the watermark at the end is %v, want the present minus the lag, %v (R10)", got, want)
	}
}

func TestTheFirstStartBeginsWhereTheConfigurationSays(t *testing.T) {
	t.Parallel()
	for start, want := range map[Start][]string{
		StartOldest:                 {"L/A=1@-3000000", "L/A=2@-100", "L/A=3@0", "L/A=4@65"},
		"2024-03-01T06:00:00Z":      {"L/A=3@0", "L/A=4@65"},
		"2024-03-01T07:58:20+02:00": {"L/A=2@-100", "L/A=3@0", "L/A=4@65"},
		StartNow:                    {"L/A=4@65"},
	} {
		t.Run(string(start), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.conf.Start = start
			g.row(t, "sqlt_data_1_2024_02", 1, at(-3000000), 1)
			g.row(t, march, 1, at(-100), 2)
			g.row(t, march, 1, at(0), 3)
			rec, stop := follow(t, g, nil)
			polls(t, rec, 2)
			stop()
			// The place is durable before the first row: a restart does not begin at another now.
			g.row(t, march, 1, at(65), 4)
			g.setClock(at(70))
			again, stop := follow(t, g, rec.Cursor())
			defer stop()
			polls(t, again, 2)
			var got []string
			for _, s := range append(rec.Samples(), again.Samples()...) {
				got = append(got, brief(s))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("samples (-want +got):\n%s", diff)
			}
		})
	}
}

func TestATagThatWasEditedKeepsItsPastAndItsPresent(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.row(t, march, 1, at(1), 1)
	rec, stop := follow(t, g, nil)
	defer stop()
	wantSamples(t, rec, "L/A=1@1")
	g.exec(t, `UPDATE sqlth_te SET retired = ? WHERE id = 1`, at(2).UnixMilli())
	g.tag(t, 7, "LINE/a")
	g.row(t, march, 1, at(2), 2) // stored late under the retired id
	g.row(t, march, 7, at(3), 3)
	wantSamples(t, rec, "L/A=1@1", "L/A=2@2", "L/A=3@3")
}

func TestATagThatIsMissingIsNamedAndFoundWhenItComes(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.tags = append(g.tags, pipeline.Tag{ID: "L/C", Address: "line/c"}, pipeline.Tag{ID: "L/D", Address: "lnie/b2"})
	g.tag(t, 3, "line/b2")
	rec, stop := follow(t, g, nil)
	defer stop()
	polls(t, rec, 2)
	said := g.statuses()
	if len(said) != 1 || said[0].State != pipeline.Degraded || !strings.Contains(said[0].Reason, "line/c") || !strings.Contains(said[0].Reason, "lnie/b2 (did you mean line/b2?)") {
		t.Errorf("status %+v", said)
	}
	g.tag(t, 4, "line/c")
	g.row(t, march, 4, at(1), 1)
	wantSamples(t, rec, "L/C=1@1")
}

func TestPartitionsMayBeListedTwiceBeGoneAndBeAdded(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.partition(t, march, at(0), at(10))
	g.exec(t, `INSERT INTO sqlth_partitions VALUES ('sqlt_data_1_2023_01', 1, 0, ?, 0, 0)`, at(-3000*3600).UnixMilli())
	g.exec(t, `INSERT INTO sqlth_partitions VALUES ('sqlt_data_2_2024_03', 2, 0, NULL, 0, 0)`) // another gateway's
	g.row(t, march, 1, at(1), 1)
	rec, stop := follow(t, g, nil)
	defer stop()
	wantSamples(t, rec, "L/A=1@1")
	if said := g.statuses(); !strings.Contains(said[0].Reason, "sqlt_data_1_2023_01") {
		t.Errorf("status %+v", said)
	}
	g.setClock(at(45 * 24 * 3600))
	g.partition(t, "sqlt_data_1_2024_04", at(40*24*3600), at(80*24*3600))
	g.row(t, march, 1, at(40*24*3600-1), 2)
	g.row(t, "sqlt_data_1_2024_04", 2, at(40*24*3600), 3)
	wantSamples(t, rec, "L/A=1@1", "L/A=2@3455999", "L/B=3@3456000")
}

func TestASingleTableNeedsNoPartitions(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.exec(t, `DELETE FROM sqlth_partitions`)
	g.exec(t, `ALTER TABLE `+march+` RENAME TO sqlth_1_data`)
	g.conf.Table = "sqlth_1_data"
	g.row(t, "sqlth_1_data", 1, at(1), 1)
	rec, stop := follow(t, g, nil)
	defer stop()
	wantSamples(t, rec, "L/A=1@1")
}

func TestAPageOfOneTimeStampIsReadLarger(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.tags, g.conf.Page = nil, 4
	var want []string
	for n := range 30 {
		id := fmt.Sprintf("T%02d", n)
		g.tags = append(g.tags, pipeline.Tag{ID: id, Address: id})
		g.tag(t, 100+n, id)
		g.row(t, march, 100+n, at(1), n)
		want = append(want, fmt.Sprintf("%s=%d@1", id, n))
	}
	g.row(t, march, 100, at(2), 99)
	rec, stop := follow(t, g, nil)
	defer stop()
	wantSamples(t, rec, append(want, "T00=99@2")...)
}

func TestRowsOfTheFutureWaitForTheirTime(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.row(t, march, 1, at(24*3600), 1)
	rec, stop := follow(t, g, nil)
	defer stop()
	polls(t, rec, 2)
	g.row(t, march, 1, at(1), 2)
	wantSamples(t, rec, "L/A=2@1")
	g.setClock(at(24 * 3600))
	wantSamples(t, rec, "L/A=2@1", "L/A=1@86400")
}

func TestAPathInTwoHistoriesNeedsTheSystem(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.exec(t, `INSERT INTO sqlth_drv VALUES (2, 'other', 'default')`)
	g.exec(t, `INSERT INTO sqlth_scinfo VALUES (2, '_exempt_', 2)`)
	g.exec(t, `INSERT INTO sqlth_te VALUES (9, 'line/a', 2, 0, 3, 0, NULL)`)
	g.row(t, march, 1, at(1), 1)
	err := g.Source(t).Run(t.Context(), nil, pipelinetest.NewRecorder(t))
	if err == nil || !strings.Contains(err.Error(), `tag path Line/A is in the histories of "gw" and "other"`) {
		t.Errorf("Run: %v", err)
	}
	g.conf.System = "GW"
	rec, stop := follow(t, g, nil)
	defer stop()
	wantSamples(t, rec, "L/A=1@1")
}

func TestAHistoryThatCannotBeReadSaysWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(g *gateway)
		cursor string
		want   string
	}{
		"no file":        {func(g *gateway) { g.conf.File += "x" }, "", "opening the history"},
		"no schema":      {func(g *gateway) { g.exec(t, `DROP TABLE sqlth_te`) }, "", "reading sqlth_te"},
		"no database":    {func(g *gateway) { writeFile(t, g.path, "no database at all, but long enough to be one") }, "", "reading sqlth_te"},
		"strange table":  {func(g *gateway) { g.exec(t, `UPDATE sqlth_partitions SET pname = 'x; DROP TABLE y'`) }, "", "which is no table name"},
		"strange cursor": {func(*gateway) {}, `{"v":9}`, "version 9"},
		"broken cursor":  {func(*gateway) {}, `x`, "decoding the cursor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			c.change(g)
			var cursor []byte
			if c.cursor != "" {
				cursor = []byte(c.cursor)
			}
			err := g.Source(t).Run(t.Context(), cursor, pipelinetest.NewRecorder(t))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Run: %v, want %q", err, c.want)
			}
		})
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(strings.Repeat(text, 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestAReplacedFileEndsTheRun(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	rec := pipelinetest.NewRecorder(t)
	done := make(chan error, 1)
	source := g.Source(t)
	go func() { done <- source.Run(t.Context(), nil, rec) }()
	polls(t, rec, 2)
	other := newGateway(t)
	if err := os.Rename(other.path, g.path); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("Run: %v", err)
	}
}

func TestTheCursorStaysSmall(t *testing.T) {
	t.Parallel()
	tl := &tail{floor: -1, newest: 10_000, seen: map[uint64]int64{}}
	for n := range 10_000 {
		tl.seen[uint64(n)] = int64(n)
	}
	cursor, err := tl.encode()
	if err != nil || len(cursor) > 100_000 {
		t.Fatalf("%d bytes, %v", len(cursor), err)
	}
	back, err := decodeTail(cursor)
	if err != nil || len(back.seen) != maxSeen || back.newest != 10_000 || back.floor != -1 {
		t.Fatalf("%d hashes, newest %d, %v", len(back.seen), back.newest, err)
	}
	for hash, ms := range back.seen {
		if ms < 10_000-maxSeen || uint64(ms) != hash {
			t.Fatalf("hash %d of time %d is kept", hash, ms)
		}
	}
}
