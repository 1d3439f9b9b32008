package lane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// answer is what the fake ERP does with one request.
type answer int

const (
	books       answer = iota
	refuses            // provably no effect
	rejects            // no retry can mend it
	breaksFirst        // the connection breaks before the effect
	breaksAfter        // the connection breaks after the effect
	hangs              // the effect is there, the answer never comes
	late               // the answer never comes, and the effect only after the client has given up
	ignores            // takes no such event
	clashes            // somebody else has booked it with another content
)

// lateBy is how long a late effect comes after the client has given up; far below testSettle.
const lateBy = 10 * time.Millisecond

// erp is a business system with a ledger of its effects.
type erp struct {
	plan       func(id string, try int) answer
	idempotent bool // an id that is booked is not booked again

	mu     sync.Mutex
	ledger []string // effect ids in the order of the effects
	tries  map[string]int
	writes int // under way
	peak   int
	late   map[string]time.Time // effects that are still to come
}

func newERP(plan func(id string, try int) answer) *erp {
	return &erp{plan: plan, tries: map[string]int{}, late: map[string]time.Time{}}
}

// bookLater gives an effect lateBy after the client's deadline, or after it hung up. A test machine that stands still
// for a while does not make it later.
func (e *erp) bookLater(ctx context.Context, id string) {
	at := time.Now()
	if end, ok := ctx.Deadline(); ok && end.Before(at) {
		at = end
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.late[id] = at.Add(lateBy)
}

// settle books what is due; e.mu is held.
func (e *erp) settle() {
	for id, at := range e.late {
		if !time.Now().Before(at) {
			delete(e.late, id)
			e.enterLedger(id)
		}
	}
}

func (e *erp) book(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settle()
	e.enterLedger(id)
}

func (e *erp) enterLedger(id string) {
	if e.idempotent {
		for _, x := range e.ledger {
			if x == id {
				return
			}
		}
	}
	e.ledger = append(e.ledger, id)
}

func (e *erp) effects() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settle()
	return append([]string(nil), e.ledger...)
}

func (e *erp) enter(id string) answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tries[id]++
	e.writes++
	e.peak = max(e.peak, e.writes)
	return e.plan(id, e.tries[id])
}

func (e *erp) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writes--
}

// Write implements pipeline.Sink.
func (e *erp) Write(ctx context.Context, events []pipeline.Event) ([]pipeline.Receipt, error) {
	id := effectID(events[0])
	a := e.enter(id)
	defer e.leave()
	switch a {
	case refuses:
		return nil, &pipeline.NotExecuted{Err: errors.New("busy")}
	case rejects:
		return nil, &pipeline.Reject{Code: "HTTP_422", Err: errors.New("no such order")}
	case ignores:
		return []pipeline.Receipt{{Skipped: true, Note: "no route"}}, nil
	case clashes:
		return nil, &pipeline.Conflict{Err: errors.New("booked with 12 pieces")}
	case breaksFirst:
		return nil, errors.New("connection reset")
	case breaksAfter:
		e.book(id)
		return nil, errors.New("connection reset")
	case hangs:
		e.book(id)
		<-ctx.Done()
		return nil, ctx.Err()
	case late:
		<-ctx.Done()
		e.bookLater(ctx, id)
		return nil, ctx.Err()
	}
	e.book(id)
	return []pipeline.Receipt{{Document: "doc-" + id}}, nil
}

// withLookup is an ERP that can be asked.
type withLookup struct{ *erp }

// Lookup implements pipeline.Lookuper.
func (e withLookup) Lookup(_ context.Context, ev pipeline.Event) (pipeline.Receipt, bool, error) {
	id := effectID(ev)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settle()
	for _, x := range e.ledger {
		if x == id {
			return pipeline.Receipt{Document: "doc-" + id}, true, nil
		}
	}
	return pipeline.Receipt{}, false, nil
}

func effectID(e pipeline.Event) string {
	if e.Revision > 0 {
		return fmt.Sprintf("%s.%d", e.ID, e.Revision)
	}
	return e.ID
}

// crasher lets the process die at the nth passing of a point; from then on every point is dead.
type crasher struct {
	mu     sync.Mutex
	at     string
	n      int
	dead   bool
	passed map[string]int
}

var errCrash = errors.New("crash")

func newCrasher(at string, n int) *crasher { return &crasher{at: at, n: n, passed: map[string]int{}} }

func (c *crasher) point(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		c.passed[name]++
		c.dead = name == c.at && c.passed[name] == c.n
	}
	if c.dead {
		return errCrash
	}
	return nil
}
