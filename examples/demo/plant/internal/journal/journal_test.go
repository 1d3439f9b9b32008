package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// read opens a journal and returns its records; snapshots begin with "S:".
func read(t *testing.T, dir string) ([]string, *Journal, error) {
	t.Helper()
	var got []string
	j, err := Open(dir, func(b []byte, snapshot bool) error {
		s := string(b)
		if snapshot {
			s = "S:" + s
		}
		got = append(got, s)
		return nil
	})
	if err == nil {
		t.Cleanup(func() { _ = j.Close() })
	}
	return got, j, err
}

func fill(t *testing.T, dir string, segments, records int) []string {
	t.Helper()
	var want []string
	_, j, err := read(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	for s := range segments {
		snap := fmt.Sprintf("state %d", s)
		if err := j.Rotate([]byte(snap)); err != nil {
			t.Fatal(err)
		}
		want = append(want, "S:"+snap)
		for r := range records {
			rec := fmt.Sprintf(`{"segment":%d,"record":%d}`, s, r)
			if err := j.Append([]byte(rec)); err != nil {
				t.Fatal(err)
			}
			want = append(want, rec)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return want
}

func TestRecordsComeBackInOrderOverSegments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := fill(t, dir, 3, 4)
	got, j, err := read(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := j.Append([]byte("more")); err != nil {
		t.Fatal(err)
	}
	if got, _, _ = read(t, dir); got[len(got)-1] != "more" {
		t.Errorf("last record %q", got[len(got)-1])
	}
}

func TestACrashAtEveryByteLeavesWholeRecordsOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := fill(t, dir, 1, 6)
	whole, err := os.ReadFile(filepath.Join(dir, "journal-000000000001.log"))
	if err != nil {
		t.Fatal(err)
	}
	first := strings.IndexByte(string(whole), '\n') + 1 // the snapshot appears whole
	for n := first; n <= len(whole); n++ {
		d := t.TempDir()
		if err := os.WriteFile(filepath.Join(d, "journal-000000000001.log"), whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		records := strings.Count(string(whole[:n]), "\n")
		got, j, err := read(t, d)
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if d := cmp.Diff(want[:records], got); d != "" {
			t.Fatalf("cut at %d: %s", n, d)
		}
		if err := j.Append([]byte("after")); err != nil {
			t.Fatal(err)
		}
		again, _, err := read(t, d)
		if err != nil {
			t.Fatalf("cut at %d, then appended: %v", n, err)
		}
		if d := cmp.Diff(append(append([]string{}, want[:records]...), "after"), again); d != "" {
			t.Fatalf("cut at %d, then appended: %s", n, d)
		}
	}
}

func TestGarbageAfterTheLastRecordIsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := fill(t, dir, 1, 2)
	f, err := os.OpenFile(filepath.Join(dir, "journal-000000000001.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, _, err := read(t, dir)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestDamageThatNoCrashExplainsIsAnError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		file string
		edit func([]byte) []byte
	}{
		{"a flipped bit in the middle", "journal-000000000002.log", func(b []byte) []byte { b[30] ^= 1; return b }},
		{"an older segment cut short", "journal-000000000001.log", func(b []byte) []byte { return b[:len(b)-3] }},
		{"an empty segment", "journal-000000000002.log", func([]byte) []byte { return nil }},
		{"a foreign first line", "journal-000000000001.log", func(b []byte) []byte { return append([]byte("x\n"), b...) }},
	} {
		dir := t.TempDir()
		fill(t, dir, 2, 3)
		path := filepath.Join(dir, c.file)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, c.edit(b), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(t, dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}

func TestAnUnfinishedRotationIsIgnored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := fill(t, dir, 1, 2)
	if err := os.WriteFile(filepath.Join(dir, "next.tmp"), []byte("half a snaps"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, j, err := read(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := j.Rotate([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, _, err = read(t, dir); err != nil || got[len(got)-1] != "S:new" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPruneDeletesOldSegmentsButNeverTheNewest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := fill(t, dir, 4, 1)
	for i := range 4 {
		at := time.Unix(int64(1000*(i+1)), 0)
		if err := os.Chtimes(filepath.Join(dir, fmt.Sprintf("journal-%012d.log", i+1)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	_, j, err := read(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Prune(time.Unix(2500, 0)); err != nil {
		t.Fatal(err)
	}
	got, _, _ := read(t, dir)
	if d := cmp.Diff(want[4:], got); d != "" {
		t.Error(d)
	}
	if err := j.Prune(time.Unix(1<<40, 0)); err != nil {
		t.Fatal(err)
	}
	got, _, _ = read(t, dir)
	if d := cmp.Diff(want[6:], got); d != "" {
		t.Error(d)
	}
}
