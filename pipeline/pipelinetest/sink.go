package pipelinetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plantloom/plantloom/pipeline"
)

// Effect is what a peer's ledger says that an event has done.
type Effect struct {
	EventID  string
	Key      string
	Document string // the peer's number, as the receipt has it; empty when it gives none
}

// Fault is what a peer does to the next request.
type Fault uint8

// The faults of peers.
const (
	// Refuse: the peer checks the content and refuses it for good.
	Refuse Fault = iota + 1
	// Unavailable: the peer says before it executes anything that it cannot now.
	Unavailable
	// CommitAndHang: the effect happens and the answer never comes, until the sink
	// gives up or ctx ends.
	CommitAndHang
	// Hang: neither effect nor answer.
	Hang
)

// Peer is the other end of a sink: a business system with a ledger. Each check
// gets a new one.
type Peer interface {
	// Sink returns a new sink on this peer, as after a start of the process. Its own
	// time-out for a request should be well below the fixture's patience.
	Sink(tb testing.TB) pipeline.Sink
	// Effects returns the ledger in the order in which the effects happened.
	Effects(tb testing.TB) []Effect
	// Fail makes the next request meet a fault; it is forgotten then.
	Fail(tb testing.TB, fault Fault)
	// Stop takes the peer away: connections are refused. Start brings it back with
	// its ledger.
	Stop(tb testing.TB)
	Start(tb testing.TB)
}

// SinkFixture describes a sink and its peer to the suite. The zero value of each
// feature is what a perfect sink has.
type SinkFixture struct {
	// Peer starts a peer; it ends with tb.
	Peer func(tb testing.TB) Peer
	// Event makes the n-th valid event of a key; its ID differs for each key and n.
	Event func(key string, n int) pipeline.Event
	// NoLookup: the sink is no pipeline.Lookuper; events in doubt wait for a person.
	NoLookup bool
	// NotIdempotent: the same event written twice has two effects.
	NotIdempotent bool
	// Settles: the sink is a pipeline.Settler.
	Settles bool
	// NeverRefuses: the peer takes any content.
	NeverRefuses bool
	// NeverUnavailable: the peer has no such answer.
	NeverUnavailable bool
	// Patience bounds each wait. Zero: 15 s.
	Patience time.Duration
	// Goroutines are options for the leak check, for what the test double leaves behind.
	Goroutines []goleak.Option
}

// Sink runs the conformance suite of sinks. The caller must not be parallel.
func Sink(t *testing.T, f SinkFixture) {
	t.Helper()
	for _, c := range sinkChecks() {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, f)
		})
	}
}

func sinkChecks() []check[SinkFixture] {
	return []check[SinkFixture]{
		{"the declared features are those of the sink", checkSinkFeatures},
		{"events of a key have their effects in order", checkSinkOrder},
		{"the same event twice", checkTwice},
		{"a refused event is a Reject without effect", checkRefused},
		{"an unavailable peer is NotExecuted and may be tried again", checkUnavailable},
		{"a peer that is away is NotExecuted and may be tried again", checkPeerAway},
		{"an answer that never comes is in doubt", checkDoubt},
		{"a look-up of what never happened finds nothing", checkLookupNothing},
		{"cancel ends a write within a second and leaves it in doubt", checkSinkCancel},
	}
}

func (f SinkFixture) patience() time.Duration {
	if f.Patience > 0 {
		return f.Patience
	}
	return 15 * time.Second
}

func sinkBench(tb testing.TB, f SinkFixture) (Peer, pipeline.Sink, context.Context) {
	tb.Helper()
	p := f.Peer(tb)
	watchLeaks(tb, f.Goroutines)
	ctx, cancel := context.WithTimeout(context.Background(), f.patience())
	tb.Cleanup(cancel)
	return p, p.Sink(tb), ctx
}

// NewEvent makes an event whose ID is its key and number, for fixtures that need
// no protobuf message.
func NewEvent(key string, n int) pipeline.Event {
	return pipeline.Event{
		ID: fmt.Sprintf("%s-%04d", key, n), Type: "ProductionOrderEvent", Key: key,
		At: beginAt().Add(time.Duration(n) * time.Second), Body: fmt.Appendf(nil, "%s %d", key, n),
	}
}
