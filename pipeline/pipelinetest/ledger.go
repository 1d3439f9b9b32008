package pipelinetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// Ledger is a Peer in memory with sinks on it: for tests of what stands in front
// of sinks. Effects are written down before the answer, as a business system does.
// It is safe for use by several goroutines.
type Ledger struct {
	// Timeout is how long its sinks wait for an answer. Zero: 50 ms.
	Timeout time.Duration

	mu      sync.Mutex
	effects []Effect
	next    Fault
	away    bool
}

var (
	_ Peer              = (*Ledger)(nil)
	_ pipeline.Sink     = (*ledgerSink)(nil)
	_ pipeline.Lookuper = (*ledgerSink)(nil)
)

// Sink implements Peer. The sink looks up and is idempotent.
func (l *Ledger) Sink(testing.TB) pipeline.Sink { return &ledgerSink{l} }

// Effects implements Peer.
func (l *Ledger) Effects(testing.TB) []Effect {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.effects)
}

// Fail implements Peer.
func (l *Ledger) Fail(_ testing.TB, fault Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = fault
}

// Stop implements Peer.
func (l *Ledger) Stop(testing.TB) { l.set(true) }

// Start implements Peer.
func (l *Ledger) Start(testing.TB) { l.set(false) }

func (l *Ledger) set(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

var (
	errAway    = errors.New("connection refused")
	errRefused = errors.New("the content is refused")
	errBusy    = errors.New("busy")
)

// request is what happens at the peer: an effect, or an error, or no answer.
func (l *Ledger) request(e pipeline.Event) (_ Effect, answers bool, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return Effect{}, true, &pipeline.NotExecuted{Err: errAway}
	}
	fault := l.next
	l.next = 0
	switch fault {
	case Refuse:
		return Effect{}, true, &pipeline.Reject{Code: "REFUSED", Err: errRefused}
	case Unavailable:
		return Effect{}, true, &pipeline.NotExecuted{Err: errBusy}
	case Hang:
		return Effect{}, false, nil
	}
	for _, old := range l.effects {
		if old.EventID == e.ID {
			return old, fault == 0, nil
		}
	}
	effect := Effect{EventID: e.ID, Key: e.Key, Document: fmt.Sprintf("DOC-%d", len(l.effects)+1)}
	l.effects = append(l.effects, effect)
	return effect, fault == 0, nil
}

type ledgerSink struct{ ledger *Ledger }

// Write implements pipeline.Sink.
func (s *ledgerSink) Write(ctx context.Context, events []pipeline.Event) ([]pipeline.Receipt, error) {
	var receipts []pipeline.Receipt
	for _, e := range events {
		effect, answers, err := s.ledger.request(e)
		if err != nil {
			return receipts, err
		}
		if !answers {
			return receipts, s.hang(ctx)
		}
		receipts = append(receipts, pipeline.Receipt{Document: effect.Document})
	}
	return receipts, nil
}

func (s *ledgerSink) hang(ctx context.Context) error {
	timeout := s.ledger.Timeout
	if timeout == 0 {
		timeout = 50 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	<-ctx.Done()
	return fmt.Errorf("waiting for the answer: %w", ctx.Err())
}

// Lookup implements pipeline.Lookuper.
func (s *ledgerSink) Lookup(_ context.Context, e pipeline.Event) (pipeline.Receipt, bool, error) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	if s.ledger.away {
		return pipeline.Receipt{}, false, errAway
	}
	for _, effect := range s.ledger.effects {
		if effect.EventID == e.ID {
			return pipeline.Receipt{Document: effect.Document}, true, nil
		}
	}
	return pipeline.Receipt{}, false, nil
}
