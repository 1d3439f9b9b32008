package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"testing"
)

// lengthPrefixed hashes parts as R13 says, apart from the engine's own code.
func lengthPrefixed(parts ...string) string {
	var b bytes.Buffer
	for _, p := range parts {
		_ = binary.Write(&b, binary.BigEndian, uint64(len(p)))
		b.WriteString(p)
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:16])
}

// R13: what an id is made of may never change: sinks know effects by it.
func TestEventIDsAreMadeOfTheirCauses(t *testing.T) {
	t.Parallel()
	w := one(t, pressSpec(), nil)
	w.read(reading{0, "P1/order", "4711"}, reading{0, "P1/good", 0}, reading{0, "P1/done", false}, reading{30 * s, "P1/done", true})
	w.upto(64 * s)
	if len(w.out.Events) != 2 {
		t.Fatal(w.told())
	}
	ns := func(seconds int) string { return strconv.FormatInt(at(s*60).UnixNano()-int64(60-seconds)*1e9, 10) }
	want := []string{
		lengthPrefixed("ProductionOrderEvent", "north", assetPath, "press", "complete", "4711", "", "when", "P1/done", ns(30), "0"),
		lengthPrefixed("ProductionOrderEvent", "north", assetPath, "press", "progress", "4711", "", "interval", ns(60), "0"),
	}
	for i, e := range w.out.Events {
		if e.ID != want[i] {
			t.Errorf("%s: id %s, want %s", e.Rule, e.ID, want[i])
		}
	}
	d := one(t, downloadSpec(), nil)
	d.add(assetPath, 0, operationRecord("4711", "M1", "40", 3, false, fineParameters()...))
	if got, want := d.out.Commands[0].GetCommandId(), lengthPrefixed("command", "download", "download", assetPath, "write", "receive", "4711/0010/3", "0"); got != want {
		t.Errorf("command id %s, want %s", got, want)
	}
}

// Two firings of one rule at one instant, by samples that follow each other there, are two events.
func TestFiringsAtOneInstantHaveTheirOwnIDs(t *testing.T) {
	t.Parallel()
	w := one(t, stationSpec(BadOmit, nil), nil)
	x := func(v bool, ordinal uint32) reading {
		p := sampleOf(reading{5 * s, "P1/ready", v})
		p.Ordinal = ordinal
		return reading{5 * s, "P1/ready", p}
	}
	w.read(reading{0, "P1/ready", false}, x(true, 0), x(false, 1), x(true, 2))
	w.upto(10 * s)
	if len(w.out.Events) != 2 || w.out.Events[0].ID == w.out.Events[1].ID {
		t.Errorf("events %v", w.told())
	}
}
