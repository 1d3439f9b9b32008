package crashlab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sort"
	"time"
)

// Truth is what the simulated plant's ledger says.
type Truth struct {
	Orders  map[string]TrueOrder
	Results map[string]TrueResult // by serial
	Started []string              // orders that have started and are not done
}

// TrueOrder is an order that the plant has finished.
type TrueOrder struct {
	Line        string
	Good, Scrap uint32
	DoneAt      time.Time
}

// TrueResult is one result of the capping station.
type TrueResult struct {
	Line    string
	Torque  *float64 // nil when its quality was bad
	Quality string
	Acked   bool
}

// ReadTruth reads the plant's ledger; a torn last line is left out, as the plant does at its next start.
func ReadTruth(path string) (*Truth, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the plant's ledger: %w", err)
	}
	defer f.Close()
	t := &Truth{Orders: map[string]TrueOrder{}, Results: map[string]TrueResult{}}
	open := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var e struct {
			Event, Line, Order, Serial, Quality string
			At                                  time.Time
			Good, Scrap                         *uint32
			Torque                              *float64
		}
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			break
		}
		switch e.Event {
		case "order_started":
			open[e.Order] = true
		case "order_done":
			delete(open, e.Order)
			t.Orders[e.Order] = TrueOrder{Line: e.Line, Good: *e.Good, Scrap: *e.Scrap, DoneAt: e.At}
		case "result":
			t.Results[e.Serial] = TrueResult{Line: e.Line, Torque: e.Torque, Quality: e.Quality}
		case "result_acked":
			r := t.Results[e.Serial]
			r.Acked = true
			t.Results[e.Serial] = r
		}
	}
	for o := range open {
		t.Started = append(t.Started, o)
	}
	sort.Strings(t.Started)
	return t, nil
}

// Books is what the simulated ERP's ledger says.
type Books struct {
	Orders map[string]struct {
		Partials    []Posting         `json:"partials"`
		Finals      []Posting         `json:"finals"`
		Corrections []json.RawMessage `json:"corrections"`
		SumYield    string            `json:"sum_yield"`
		SumScrap    string            `json:"sum_scrap"`
	} `json:"orders"`
	Inspections []struct {
		Serial  string `json:"serial"`
		Verdict string `json:"verdict"`
	} `json:"inspections"`
	Duplicates []string       `json:"duplicates"`
	Requests   map[string]int `json:"requests"`
	Faults     map[string]int `json:"faults"`
}

// Posting is one booked confirmation.
type Posting struct {
	ExternalID string    `json:"external_id"`
	Yield      string    `json:"yield"`
	Scrap      string    `json:"scrap"`
	To         string    `json:"to"`
	OccurredAt string    `json:"occurred_at"`
	At         time.Time `json:"at"`
}

// Missing returns finished orders without a final confirmation, and acknowledged results without an inspection.
func (t *Truth) Missing(b *Books) (out []string) {
	for id := range t.Orders {
		if len(b.Orders[id].Finals) == 0 {
			out = append(out, "order "+id)
		}
	}
	seen := map[string]bool{}
	for _, i := range b.Inspections {
		seen[i.Serial] = true
	}
	for serial, r := range t.Results {
		if r.Acked && !seen[serial] {
			out = append(out, "result "+serial)
		}
	}
	sort.Strings(out)
	return out
}

// Compare returns every difference between the books and the truth, in words.
func (t *Truth) Compare(b *Books) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, m := range t.Missing(b) {
		say("%s is not in the ERP", m)
	}
	for _, d := range b.Duplicates {
		say("effect %s was booked more than once", d)
	}
	for id, o := range t.Orders {
		a := b.Orders[id]
		if len(a.Finals) != 1 {
			say("order %s has %d final confirmations", id, len(a.Finals))
		}
		if len(a.Corrections) > 0 {
			say("order %s needed a correction: %s", id, a.Corrections)
		}
		if a.SumYield != fmt.Sprint(o.Good) || a.SumScrap != fmt.Sprint(o.Scrap) {
			say("order %s: the ERP has yield %s and scrap %s, the plant made %d and %d", id, a.SumYield, a.SumScrap, o.Good, o.Scrap)
		}
		if !slices.IsSortedFunc(a.Partials, func(x, y Posting) int { return compareTimes(x.OccurredAt, y.OccurredAt) }) {
			say("order %s: partial confirmations are out of order", id)
		}
		for _, p := range a.Partials {
			if len(a.Finals) > 0 && p.At.After(a.Finals[0].At) {
				say("order %s: partial %s was booked after the final confirmation", id, p.ExternalID)
			}
		}
	}
	verdicts := map[string]string{}
	for _, i := range b.Inspections {
		if _, twice := verdicts[i.Serial]; twice {
			say("serial %s has two inspections", i.Serial)
		}
		verdicts[i.Serial] = i.Verdict
		r, ok := t.Results[i.Serial]
		if !ok {
			say("serial %s was inspected, but the plant never made it", i.Serial)
		} else if (r.Torque == nil) != (i.Verdict == "NOT_DECIDABLE") {
			say("serial %s: verdict %s, but the torque's quality was %s", i.Serial, i.Verdict, r.Quality)
		}
	}
	sort.Strings(out)
	return out
}

func compareTimes(a, b string) int {
	x, errA := time.Parse(time.RFC3339Nano, a)
	y, errB := time.Parse(time.RFC3339Nano, b)
	if errA != nil || errB != nil {
		return 0
	}
	return x.Compare(y)
}
