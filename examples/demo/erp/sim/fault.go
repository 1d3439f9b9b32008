package sim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Kinds of fault. Those that begin with commit happen after the effect is
// booked: the client cannot know it without a look-up.
const (
	FaultUnavailable    = "unavailable"     // 503 before anything is done
	FaultUnauthorised   = "unauthorized"    // 401, as after a change of the password
	FaultRefuse         = "refuse"          // 422, as if the content were wrong
	FaultDropBefore     = "drop_before"     // connection closed, nothing done
	FaultHang           = "hang"            // nothing done, no answer for Hang, then closed
	FaultSlow           = "slow"            // done, the answer comes Slow later
	FaultCommitDrop     = "commit_drop"     // done, connection closed without an answer
	FaultCommitHang     = "commit_hang"     // done, no answer for Hang, then closed
	FaultCommitTruncate = "commit_truncate" // done, half of the answer's body, then closed
	FaultCommitError    = "commit_error"    // done, and yet a 500
)

// faultKinds are the kinds in the order in which the draw picks them.
func faultKinds() []string {
	return []string{
		FaultUnavailable, FaultDropBefore, FaultSlow, FaultCommitDrop, FaultCommitHang,
		FaultCommitTruncate, FaultCommitError, FaultUnauthorised, FaultRefuse, FaultHang,
	}
}

// defaultMix is what a fault rate without kinds draws from.
func defaultMix() []string {
	return []string{FaultUnavailable, FaultSlow, FaultCommitDrop, FaultCommitHang}
}

// Faults is a profile: which share of the requests under /api goes wrong, and
// how. Equal seeds give equal draws for the same request number, which counts
// on over restarts.
type Faults struct {
	Rate  float64  // 0 to 1
	Seed  uint64   // of the draw
	Kinds []string // empty: unavailable, slow, commit_drop, commit_hang
	// Slow delays an answer; 300 ms when 0. Hang is how long a hung request
	// stays open; 60 s when 0. A hang must be longer than the client's time-out
	// to be one.
	Slow, Hang time.Duration
	// Next are faults for the next requests, ahead of the draw.
	Next []NextFault
}

// NextFault makes the next Count requests fail whose path begins with Path and
// whose method is Method; both may be empty for any.
type NextFault struct {
	Kind   string `json:"kind"`
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	Count  int    `json:"count,omitempty"` // 1 when 0
}

func (f Faults) validate() error {
	if f.Rate < 0 || f.Rate > 1 {
		return fmt.Errorf("fault rate %v is not between 0 and 1", f.Rate)
	}
	for _, kind := range f.Kinds {
		if err := validKind(kind); err != nil {
			return err
		}
	}
	for _, next := range f.Next {
		if err := validKind(next.Kind); err != nil {
			return err
		}
	}
	return nil
}

func validKind(kind string) error {
	if !slices.Contains(faultKinds(), kind) {
		return fmt.Errorf("unknown fault %q; there are %s", kind, strings.Join(faultKinds(), ", "))
	}
	return nil
}

// settings is what POST /demo/faults changes.
type settings struct {
	faults         Faults
	ignoreKey      bool
	minRun, maxRun time.Duration
}

// lot is what was drawn for one request.
type lot struct {
	fault      string
	run        time.Duration
	slow, hang time.Duration
	ignoreKey  bool
}

// draw takes a planned fault if one fits, else rolls the dice.
func (e *ERP) draw(r *http.Request) lot {
	number := e.arrivals.Add(1)
	e.settingsMu.Lock()
	defer e.settingsMu.Unlock()
	set := &e.settings
	// Not for secrets: the draw must repeat for a seed.
	dice := rand.New(rand.NewPCG(set.faults.Seed, uint64(number))) //nolint:gosec
	out := lot{
		run: set.minRun, ignoreKey: set.ignoreKey,
		slow: orDuration(set.faults.Slow, 300*time.Millisecond),
		hang: orDuration(set.faults.Hang, time.Minute),
	}
	if span := set.maxRun - set.minRun; span > 0 {
		out.run += time.Duration(dice.Int64N(int64(span) + 1))
	}
	if out.fault = set.faults.planned(r); out.fault != "" {
		return out
	}
	if dice.Float64() < set.faults.Rate {
		kinds := set.faults.Kinds
		if len(kinds) == 0 {
			kinds = defaultMix()
		}
		out.fault = kinds[dice.IntN(len(kinds))]
	}
	return out
}

// planned uses up one planned fault that fits r.
func (f *Faults) planned(r *http.Request) string {
	for i := range f.Next {
		next := &f.Next[i]
		if next.Method != "" && next.Method != r.Method || !strings.HasPrefix(r.URL.Path, next.Path) {
			continue
		}
		kind := next.Kind
		if next.Count--; next.Count <= 0 {
			f.Next = slices.Delete(f.Next, i, i+1)
		}
		return kind
	}
	return ""
}

func orDuration(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
