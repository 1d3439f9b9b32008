package sim_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/examples/demo/erp/sim"
)

// TestTheJournalIsWholeAfterACrashAtEveryByte cuts the journal at every byte of
// its last records, as a kill in the middle of a write does. An effect must be
// there fully or not at all, and a repeat of the posting must then book it once.
func TestTheJournalIsWholeAfterACrashAtEveryByte(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *sim.Config) { c.Orders = 3 })
	postings := []string{confirm("e1", "4", "0"), confirm("e2", "1.5", "1"), final("e3", "3", "0", "9", "1")}
	for _, body := range postings[:2] {
		w.send("POST", "/api/confirmations", body)
	}
	path := filepath.Join(w.cfg.Dir, "ledger.jsonl")
	before := mustRead(t, path)
	w.send("POST", "/api/confirmations", postings[2])
	whole := w.ledger()
	journal := mustRead(t, path)
	w.stop()

	for end := len(before); end <= len(journal); end++ {
		cfg := w.cfg
		cfg.Dir = t.TempDir()
		mustWrite(t, filepath.Join(cfg.Dir, "ledger.jsonl"), journal[:end])
		cut := &world{t: t, cfg: cfg}
		cut.start()
		ledger := cut.ledger()
		if booked := len(ledger.Orders["1000001"].Finals) == 1; booked != (end == len(journal)) {
			t.Fatalf("cut at %d of %d: booked is %v", end, len(journal), booked)
		}
		if kept := cut.erp.CutBytes(); end < len(journal) && kept != int64(end-len(before)) {
			t.Fatalf("cut at %d: %d bytes were cut off", end, kept)
		}
		if status, body := cut.send("POST", "/api/confirmations", postings[2]); status != 201 {
			t.Fatalf("cut at %d: the repeat got %d %v", end, status, body)
		}
		cut.restart()
		if diff := cmp.Diff(whole.Orders["1000001"].SumYield, cut.ledger().Orders["1000001"].SumYield); diff != "" {
			t.Fatalf("cut at %d: %s", end, diff)
		}
		_, open := cut.send("GET", "/api/orders", "")
		if n := len(open["orders"].([]any)); n != 6 {
			t.Fatalf("cut at %d: %d open orders, want 6", end, n)
		}
		cut.stop()
	}
}

func TestDamageInTheMiddleOfTheJournalIsNotRepairedSilently(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.send("POST", "/api/confirmations", confirm("e1", "4", "0"))
	w.send("POST", "/api/confirmations", confirm("e2", "4", "0"))
	w.stop()
	path := filepath.Join(w.cfg.Dir, "ledger.jsonl")
	journal := mustRead(t, path)
	lines := bytes.SplitAfter(journal, []byte("\n"))
	for name, damaged := range map[string][]byte{
		"a line is missing": bytes.Join([][]byte{lines[0], lines[2]}, nil),
		"a line is garbage": bytes.Join([][]byte{lines[0], []byte("{\x00\n"), lines[2]}, nil),
	} {
		cfg := w.cfg
		cfg.Dir = t.TempDir()
		mustWrite(t, filepath.Join(cfg.Dir, "ledger.jsonl"), damaged)
		if _, err := sim.New(cfg); err == nil || !strings.Contains(err.Error(), "journal at byte") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReplayRebuildsTheSameBooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *sim.Config) { c.IgnoreKey = true })
	w.send("POST", "/api/confirmations", confirm("e1", "4", "0"))
	w.send("POST", "/api/confirmations", confirm("e1", "4", "0"))
	w.send("POST", "/api/inspections", `{"external_id":"i1","serial":"S1","verdict":"FAIL","results":[{"id":"torque","value":"1.250"}]}`)
	w.send("POST", "/api/orders/2000001/status", `{"external_id":"d1","status":"DOWNLOAD_FAILED","reason":"EXPIRED","at":"t"}`)
	w.send("POST", "/api/confirmations", final("e9", "1", "0", "10", "2"))
	_, orders := w.send("GET", "/demo/orders", "")
	live := w.ledger()
	w.restart()
	again := w.ledger()
	again.Starts, again.Records = live.Starts, live.Records
	if diff := cmp.Diff(asJSON(t, live), asJSON(t, again)); diff != "" {
		t.Error(diff)
	}
	if _, replayed := w.send("GET", "/demo/orders", ""); !cmp.Equal(orders, replayed) {
		t.Error(cmp.Diff(orders, replayed))
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func mustWrite(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
