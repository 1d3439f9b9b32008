package historian

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func rows(from, to int) (out []Row) {
	for i := from; i < to; i++ {
		at := time.UnixMilli(1_780_000_000_000 + int64(i)*1000)
		out = append(out, Row{"bottling/l9/good", int64(i), at}, Row{"bottling/l9/order_no", fmt.Sprint(9_000_000 + i/10), at})
	}
	return out
}

// run writes what was put and stops.
func run(t *testing.T, w *Writer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, waiting := w.Oldest(); !waiting {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("rows not written in 20 s")
		case <-tick.C:
		}
	}
	cancel()
	<-done
}

func TestRowsAreWrittenOnceInIgnitionsSchema(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "a b?.sqlite")
	for range 2 { // the second run hands everything in again
		w, err := New("sqlite", path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		w.Put(rows(0, 700)...)
		run(t, w)
	}
	w, err := New("sqlite", path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	var table, mode string
	var start, end int64
	if err := db.QueryRow(`SELECT pname, start_time, end_time FROM sqlth_partitions`).Scan(&table, &start, &end); err != nil {
		t.Fatal(err)
	}
	if table != "sqlt_data_1_2026_05" || time.UnixMilli(end).Sub(time.UnixMilli(start)) != 31*24*time.Hour {
		t.Errorf("partition %s from %d to %d", table, start, end)
	}
	if err := db.QueryRow(`PRAGMA journal_mode`).Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal mode %s, %v", mode, err)
	}
	type row struct {
		Path   string
		Type   int
		Int    sql.NullInt64
		Text   sql.NullString
		Good   int
		Stamp  int64
		Absent bool
	}
	var got []row
	res, err := db.Query(`SELECT te.tagpath, te.datatype, d.intvalue, d.stringvalue, d.dataintegrity, d.t_stamp, d.floatvalue IS NULL
		FROM ` + table + ` d JOIN sqlth_te te ON te.id = d.tagid ORDER BY d.t_stamp, te.tagpath`)
	if err != nil {
		t.Fatal(err)
	}
	for res.Next() {
		var r row
		if err := res.Scan(&r.Path, &r.Type, &r.Int, &r.Text, &r.Good, &r.Stamp, &r.Absent); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1400 {
		t.Fatalf("%d rows, want 1400", len(got))
	}
	want := []row{
		{"bottling/l9/good", 0, sql.NullInt64{Int64: 699, Valid: true}, sql.NullString{}, 192, 1_780_000_699_000, true},
		{"bottling/l9/order_no", 2, sql.NullInt64{}, sql.NullString{String: "9000069", Valid: true}, 192, 1_780_000_699_000, true},
	}
	if d := cmp.Diff(want, got[1398:]); d != "" {
		t.Error(d)
	}
}

func TestAMonthThatBeginsGetsItsOwnTable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "h.sqlite")
	w, err := New("sqlite", path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w.Put(Row{"a", int64(1), time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)}, Row{"a", int64(2), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)})
	run(t, w)
	db, err := sql.Open("sqlite", w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, table := range []string{"sqlt_data_1_2026_12", "sqlt_data_1_2027_01"} {
		var n int
		if err := db.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n); err != nil || n != 1 {
			t.Errorf("%s has %d rows, %v", table, n, err)
		}
	}
}

func TestADatabaseThatIsAwayIsTriedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, err := New("sqlite", filepath.Join(dir, "h.sqlite"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w.retry = time.Millisecond
	good := w.dsn
	w.dsn = "file:" + filepath.Join(dir, "missing", "h.sqlite")
	if err := w.session(t.Context()); err == nil {
		t.Fatal("wrote into a missing directory")
	}
	w.Put(rows(0, 3)...)
	if at, waiting := w.Oldest(); !waiting || !at.Equal(rows(0, 1)[0].At) {
		t.Errorf("oldest %v, %v", at, waiting)
	}
	w.dsn = good
	run(t, w)
}

func TestAnUnknownDriverIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := New("oracle", "x", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("accepted")
	}
}

func TestPlaceholdersFollowTheDriver(t *testing.T) {
	t.Parallel()
	if got := (&store{numbered: true}).bind("a = ? AND b = ?"); got != "a = $1 AND b = $2" {
		t.Error(got)
	}
	if got := (&store{}).bind("a = ?"); got != "a = ?" {
		t.Error(got)
	}
}
