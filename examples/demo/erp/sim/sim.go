// Package sim is the simulated ERP of the demo: orders out, confirmations and
// inspection results in, faults on request, and a ledger that says exactly
// what was booked. It exists so that delivery can be proved against a system
// that is slow, drops connections after a commit and may ignore the
// idempotency key.
//
// It is a test double and never part of plantloom: only examples/demo/erp and
// tests import it. It holds no floating point amounts: quantities are decimal
// text from the request to the ledger.
package sim

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how the ERP behaves. The zero value of a field takes the default
// named in its comment.
type Config struct {
	// Dir holds the journal. It is created when missing and belongs to one
	// process at a time.
	Dir string
	// User and Password are what HTTP basic authentication must carry. User is
	// plantloom when empty; an empty Password is refused.
	User, Password string
	// IgnoreKey makes the ERP as naive as most: a second POST with the same
	// external id books a second effect.
	IgnoreKey bool
	// MinRun and MaxRun bound the time the ERP works on a posting before it
	// commits. The work goes on when the client hangs up.
	MinRun, MaxRun time.Duration
	// Target is the quantity of each order; 40 when 0.
	Target int
	// Open is how many open orders a work centre has at most; 2 when 0.
	Open int
	// Orders bounds how many orders are released per work centre; 0 is endless.
	Orders int
	// Faults is the profile at start; POST /demo/faults changes it.
	Faults Faults
	// Now is the clock, in any zone; the journal holds UTC.
	Now func() time.Time
}

// ERP is one simulated system. Its methods may be used by many goroutines.
type ERP struct {
	now          func() time.Time
	userHash     [sha256.Size]byte
	passwordHash [sha256.Size]byte
	arrivals     atomic.Int64 // numbers requests for the fault draw
	closed       chan struct{}
	closeOnce    sync.Once

	settingsMu sync.Mutex
	settings   settings

	mu      sync.Mutex // guards journal and state: one commit at a time
	journal *journal
	state   *state
	plan    plan
}

// plan is how orders are released.
type plan struct {
	target, open, orders int
}

// New opens the journal in cfg.Dir, rebuilds the state from it and releases the
// first orders. A torn last line, which a kill in the middle of a write leaves,
// was never answered and is cut off; any other damage is an error.
func New(cfg Config) (*ERP, error) {
	if cfg.Password == "" {
		return nil, errors.New("the simulated ERP needs a password: give --password-env or --password-file")
	}
	if cfg.Now == nil {
		return nil, errors.New("the simulated ERP needs a clock")
	}
	if cfg.MaxRun < cfg.MinRun {
		cfg.MaxRun = cfg.MinRun
	}
	if err := cfg.Faults.validate(); err != nil {
		return nil, err
	}
	e := &ERP{
		now:          func() time.Time { return cfg.Now().UTC() },
		userHash:     sha256.Sum256([]byte(orText(cfg.User, "plantloom"))),
		passwordHash: sha256.Sum256([]byte(cfg.Password)),
		closed:       make(chan struct{}),
		settings: settings{
			faults: cfg.Faults, ignoreKey: cfg.IgnoreKey, minRun: cfg.MinRun, maxRun: cfg.MaxRun,
		},
		state: newState(),
		plan:  plan{target: orInt(cfg.Target, 40), open: orInt(cfg.Open, 2), orders: cfg.Orders},
	}
	journal, err := openJournal(cfg.Dir, e.state.apply)
	if err != nil {
		return nil, err
	}
	e.journal = journal
	e.arrivals.Store(e.state.served)
	if err := e.start(); err != nil {
		return nil, errors.Join(err, journal.close())
	}
	return e, nil
}

// start journals the start together with the orders that it releases.
func (e *ERP) start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	rec := record{Kind: kindStart}
	for _, centre := range electronicCentres() {
		version := e.state.version + int64(len(rec.Released))
		rec.Released = append(rec.Released, e.state.release(e.plan, centre, e.state.openBy[centre], version, e.now())...)
	}
	return e.commit(rec)
}

// commit numbers rec, makes it durable and only then applies it: what the
// ledger shows and what a client is told has been on disk before. The caller
// holds e.mu.
func (e *ERP) commit(rec record) error {
	rec.N = e.state.n + 1
	rec.At = e.now()
	if err := e.journal.append(rec); err != nil {
		return err
	}
	return e.state.apply(rec)
}

// Close ends waiting requests and closes the journal. Postings that have not
// been committed by then are not booked.
func (e *ERP) Close() error {
	e.closeOnce.Do(func() { close(e.closed) })
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.journal.close()
}

// authorised compares in constant time, whatever the lengths.
func (e *ERP) authorised(user, password string) bool {
	u, p := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
	same := subtle.ConstantTimeCompare(u[:], e.userHash[:]) & subtle.ConstantTimeCompare(p[:], e.passwordHash[:])
	return same == 1
}

// CutBytes says how much of a torn last line was cut off at the start.
func (e *ERP) CutBytes() int64 { return e.journal.cut }

// Summary is one line for the terminal.
func (e *ERP) Summary() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprintf("%d orders, %d effects, %d journal records", len(e.state.orderIDs), len(e.state.effects), e.state.n)
}

func orText(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func orInt(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}
