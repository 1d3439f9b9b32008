package plant

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/examples/demo/plant/internal/line"
	"github.com/plantloom/plantloom/internal/uaserver"
)

var began = time.Date(2026, 5, 4, 6, 0, 0, 0, time.UTC)

// bench is a plant in virtual time, without network.
type bench struct {
	*testing.T
	p   *Plant
	now time.Time
	dir string
}

func open(t *testing.T, dir string, now time.Time) *bench {
	t.Helper()
	b := &bench{T: t, now: now, dir: dir}
	p, err := Open(Config{
		Dir: dir, Listen: "127.0.0.1:0", Lines: 1, Seed: 5, Historian: filepath.Join(dir, "h.sqlite"),
		Now: func() time.Time { return b.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.p = p
	return b
}

func (b *bench) close() {
	b.Helper()
	if err := b.p.Close(); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) step() {
	b.Helper()
	b.now = b.now.Add(100 * time.Millisecond)
	if err := b.p.scan(b.now); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) write(values map[string]any) []ua.StatusCode {
	b.Helper()
	req := writeRequest{results: make(chan []ua.StatusCode, 1)}
	for _, d := range line.Defs("L1") {
		if v, ok := values[strings.TrimPrefix(d.Name, "L1.")]; ok {
			req.writes = append(req.writes, uaserver.Write{Var: b.p.vars[d.Name], Value: v})
		}
	}
	if err := b.p.write(req); err != nil {
		b.Fatal(err)
	}
	return <-req.results
}

func (b *bench) get(part string) any {
	v, _, _ := b.p.vars["L1."+part].Value()
	return v
}

func (b *bench) until(what string, f func() bool) {
	b.Helper()
	for range 6000 {
		if f() {
			return
		}
		b.step()
	}
	b.Fatalf("not in 10 min: %s", what)
}

func (b *bench) load(no string, target uint32) {
	b.Helper()
	b.write(map[string]any{
		"Cmd.OrderNo": no, "Cmd.Operation": "0010", "Cmd.Material": "WATER-05",
		"Cmd.Target": target, "Cmd.FillVolume": 0.5, "Cmd.CapTorque": 17.0,
	})
	b.write(map[string]any{"Cmd.Load": true})
	b.until("loaded", func() bool { return b.get("Cmd.Loaded") == true })
	b.write(map[string]any{"Cmd.Load": false})
	b.until("load done", func() bool { return b.get("Cmd.Loaded") == false })
}

func readLedger(t *testing.T, dir string) (out []line.Entry) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, LedgerFile))
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		if l == "" {
			continue
		}
		var e line.Entry
		if err := json.Unmarshal([]byte(l), &e); err != nil || e.Seq != uint64(i+1) {
			t.Fatalf("ledger line %d: %q, %v", i+1, l, err)
		}
		out = append(out, e)
	}
	return out
}

// checkBooks compares ledger, counters, order block, OPC UA and history.
func checkBooks(t *testing.T, b *bench) {
	t.Helper()
	first := line.New(line.Config{Name: "L1", Seed: 5, Speed: 1}, began).State()
	var good, scrap uint32
	for _, e := range readLedger(t, b.dir) {
		if e.Event == line.OrderDone && e.Line == "L1" {
			good, scrap = good+*e.Good, scrap+*e.Scrap
		}
	}
	st := b.p.units[0].line.State()
	if !st.Done {
		good, scrap = good+st.OrderGood, scrap+st.OrderScrap
	}
	if st.Good-first.Good != uint16(good) || st.Scrap-first.Scrap != uint16(scrap) {
		t.Errorf("counters %d, %d from %d, %d; the books say %d, %d", st.Good, st.Scrap, first.Good, first.Scrap, good, scrap)
	}
	no := ""
	if st.Current != nil {
		no = st.Current.No
	}
	want := map[string]any{
		"State": st.Phase, "Cnt.Good": st.Good, "Cnt.Scrap": st.Scrap,
		"Order.Good": st.OrderGood, "Order.Scrap": st.OrderScrap, "Order.Done": st.Done, "Order.No": no,
	}
	for part, v := range want {
		if got := b.get(part); got != v {
			t.Errorf("%s shows %v, the state says %v", part, got, v)
		}
	}
	for name, v := range b.p.vars {
		value, status, at := v.Value()
		all, _ := b.p.store.Read(name, time.Time{}, time.Time{}, 0, math.MaxInt)
		if len(all) == 0 {
			t.Fatalf("no history of %s", name)
		}
		newest := all[len(all)-1]
		if newest.Value.Value() != value || newest.Status != status || !newest.SourceTimestamp.Equal(at) {
			t.Errorf("history of %s ends with %v at %v, shown is %v at %v", name, newest.Value.Value(), newest.SourceTimestamp, value, at)
		}
		if at.After(b.now) {
			t.Errorf("%s has a time in the future: %v", name, at)
		}
	}
}

// oneAndAHalfOrders runs order 1 to its acknowledgement and order 2 halfway.
func oneAndAHalfOrders(t *testing.T, dir string) time.Time {
	t.Helper()
	b := open(t, dir, began)
	b.load("1", 12)
	b.load("2", 40)
	b.until("order 1 done", func() bool { return b.get("Order.Done") == true })
	b.write(map[string]any{"Order.AckNo": "1"})
	b.until("a station result", func() bool { return b.get("Cap.Ready") == true })
	b.until("its serial", func() bool { return b.get("Cap.Serial") != "" })
	b.write(map[string]any{"Cap.AckSerial": b.get("Cap.Serial")})
	b.until("half of order 2", func() bool { return b.get("Order.No") == "2" && b.get("Order.Good").(uint32) > 20 })
	checkBooks(t, b)
	b.close()
	return b.now
}

func TestACrashAtAnyByteOfTheJournalKeepsTheBooks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	end := oneAndAHalfOrders(t, dir)
	whole, err := os.ReadFile(filepath.Join(dir, "journal", "journal-000000000001.log"))
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := os.ReadFile(filepath.Join(dir, LedgerFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range cuts(whole) {
		crashed := t.TempDir()
		if err := os.MkdirAll(filepath.Join(crashed, "journal"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(crashed, "journal", "journal-000000000001.log"), whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		// The ledger is behind the journal, by any number of bytes.
		known := prefixOfLedger(t, whole[:cut], ledger)
		behind := min(cut%300, len(known))
		if err := os.WriteFile(filepath.Join(crashed, LedgerFile), known[:len(known)-behind], 0o644); err != nil {
			t.Fatal(err)
		}
		b := open(t, crashed, end.Add(time.Minute))
		checkBooks(t, b)
		got, err := os.ReadFile(filepath.Join(crashed, LedgerFile))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, known) {
			t.Errorf("cut at %d: the ledger differs from the journal's", cut)
		}
		b.close()
		if t.Failed() {
			t.Fatalf("cut at byte %d of %d", cut, len(whole))
		}
	}
}

// cuts chooses where the journal ends: around every record's end, and at every
// byte of the record that completes the first order.
func cuts(whole []byte) (out []int) {
	at := bytes.IndexByte(whole, '\n') + 1
	for i := 0; at < len(whole); i++ {
		n := bytes.IndexByte(whole[at:], '\n') + 1
		rec := whole[at : at+n]
		switch {
		case bytes.Contains(rec, []byte(line.OrderDone)) && bytes.Contains(rec, []byte(`"line":"L1"`)):
			for c := 0; c < n; c++ {
				out = append(out, at+c)
			}
		case i%3 == 0 || bytes.Contains(rec, []byte(`"ledger"`)):
			out = append(out, at, at+n/2, at+n-1)
		}
		at += n
	}
	return append(out, len(whole))
}

// prefixOfLedger returns the ledger's lines that the journal's whole records
// tell of.
func prefixOfLedger(t *testing.T, jr, ledger []byte) []byte {
	t.Helper()
	entries := 0
	for _, l := range bytes.SplitAfter(jr, []byte("\n")) {
		if !bytes.HasSuffix(l, []byte("\n")) {
			break
		}
		var rec record
		if err := json.Unmarshal(l[11:], &rec); err != nil {
			t.Fatal(err)
		}
		entries += len(rec.Ledger)
	}
	n := 0
	for range entries {
		n += bytes.IndexByte(ledger[n:], '\n') + 1
	}
	return ledger[:n]
}

func TestRotationKeepsEverythingThatMatters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	end := oneAndAHalfOrders(t, dir)
	b := open(t, dir, end)
	for range 3 {
		if err := b.p.rotate(); err != nil {
			t.Fatal(err)
		}
		b.step()
	}
	before, _ := b.p.store.Read("L1.Cnt.Good", time.Time{}, time.Time{}, 0, math.MaxInt)
	b.close()
	again := open(t, dir, b.now)
	defer again.close()
	checkBooks(t, again)
	after, _ := again.p.store.Read("L1.Cnt.Good", time.Time{}, time.Time{}, 0, math.MaxInt)
	if len(before) != len(after) {
		t.Errorf("history has %d values, had %d", len(after), len(before))
	}
	// Produced orders survive in the snapshot alone.
	old, err := filepath.Glob(filepath.Join(dir, "journal", "*.log"))
	if err != nil || len(old) != 4 {
		t.Fatalf("%d segments, %v", len(old), err)
	}
	again.close()
	for _, f := range old[:3] {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	last := open(t, dir, b.now)
	defer last.close()
	checkBooks(t, last)
	last.write(map[string]any{"Cmd.OrderNo": "1", "Cmd.Target": uint32(5), "Cmd.FillVolume": 0.5, "Cmd.CapTorque": 17.0})
	last.write(map[string]any{"Cmd.Load": true})
	last.until("an answer", func() bool { return last.get("Cmd.Refused") == true })
	if got := last.get("Cmd.ErrNo"); got != line.ErrProduced {
		t.Errorf("order 1 again: error %v", got)
	}
}

func TestAWriteIsInTheJournalBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, began)
	got := b.write(map[string]any{"Cmd.OrderNo": "77", "Cmd.FillVolume": math.NaN(), "Cmd.Material": strings.Repeat("x", 300)})
	want := map[ua.StatusCode]int{ua.StatusOK: 1, ua.StatusBadOutOfRange: 2}
	for _, c := range got {
		want[c]--
	}
	for c, n := range want {
		if n != 0 {
			t.Errorf("status %v: off by %d", c, n)
		}
	}
	_, _, at := b.p.vars["L1.Cmd.OrderNo"].Value()
	b.close()
	again := open(t, dir, began.Add(time.Hour))
	defer again.close()
	v, _, after := again.p.vars["L1.Cmd.OrderNo"].Value()
	if v != "77" || !after.Equal(at) {
		t.Errorf("after the restart %v at %v, was written at %v", v, after, at)
	}
}

func TestAStateDirectoryBelongsToOnePlantWithTheSameLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, began)
	cfg := Config{Dir: dir, Lines: 1, Historian: filepath.Join(dir, "h.sqlite"), Now: func() time.Time { return began }}
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "another demo plant") {
		t.Errorf("a second plant: %v", err)
	}
	b.close()
	more := cfg
	more.Lines = 2
	if _, err := Open(more); err == nil || !strings.Contains(err.Error(), "has no line L2") {
		t.Errorf("more lines: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, LedgerFile)); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir, began) // nothing had happened yet: an empty ledger is right
	c.until("L9 to start", func() bool { return c.p.seq > 0 })
	c.close()
	if err := os.RemoveAll(filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "a ledger but no journal") {
		t.Errorf("no journal: %v", err)
	}
}

func TestTheStatusNamesEveryLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := open(t, t.TempDir(), began)
	defer b.close()
	b.p.cfg.Out = &out
	b.load("1", 50)
	b.until("bottles", func() bool { return b.get("Order.Good").(uint32) > 3 })
	if err := b.p.report(); err != nil {
		t.Fatal(err)
	}
	var st Status
	if err := json.Unmarshal(out.Bytes(), &st); err != nil {
		t.Fatal(err)
	}
	if st.Demo != "plant" || len(st.Lines) != 2 || st.Lines[0].Order != "1" || st.Lines[0].Good < 4 || st.Lines[1].Line != "L9" {
		t.Errorf("status %+v", st)
	}
}
