package pipelinetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// wrongPeer is a Ledger whose sinks do one thing wrong.
type wrongPeer struct {
	*Ledger
	wrong string
}

func (p wrongPeer) Sink(tb testing.TB) pipeline.Sink {
	s := &wrongSink{right: p.Ledger.Sink(tb), peer: p}
	if p.wrong == "has no look-up" {
		return struct{ pipeline.Sink }{s}
	}
	return s
}

type wrongSink struct {
	right pipeline.Sink
	peer  wrongPeer
}

func (s *wrongSink) Lookup(ctx context.Context, e pipeline.Event) (pipeline.Receipt, bool, error) {
	r, found, err := s.right.(pipeline.Lookuper).Lookup(ctx, e)
	switch {
	case s.peer.wrong == "finds what never was":
		return pipeline.Receipt{}, true, nil
	case s.peer.wrong == "takes no answer for no effect" && err != nil:
		return pipeline.Receipt{}, false, nil
	}
	return r, found, err
}

func (s *wrongSink) Write(ctx context.Context, events []pipeline.Event) ([]pipeline.Receipt, error) {
	var reject *pipeline.Reject
	switch s.peer.wrong {
	case "is deaf to cancel":
		ctx = context.WithoutCancel(ctx)
	case "gives up a part silently":
		if len(events) > 1 {
			return s.right.Write(ctx, events[:1])
		}
	case "writes twice":
		if _, err := s.right.Write(ctx, []pipeline.Event{{ID: events[0].ID + "'"}}); err != nil {
			return nil, err
		}
	}
	receipts, err := s.right.Write(ctx, events)
	var again *pipeline.NotExecuted
	switch {
	case s.peer.wrong == "retries a timeout by itself" && errors.Is(err, context.DeadlineExceeded):
		return nil, &pipeline.NotExecuted{Err: err}
	case s.peer.wrong == "rejects a timeout" && err != nil && !errors.As(err, &again):
		return nil, &pipeline.Reject{Code: "X", Err: err}
	case s.peer.wrong == "hides a refusal" && errors.As(err, &reject):
		return []pipeline.Receipt{{}}, nil
	case s.peer.wrong == "gives plain errors" && err != nil:
		return nil, errors.New(err.Error())
	case s.peer.wrong == "forgets the document":
		clear(receipts)
	}
	return receipts, err
}

func sinkFixture(wrong string) SinkFixture {
	return SinkFixture{
		Peer: func(testing.TB) Peer {
			l := &Ledger{}
			if wrong == "is deaf to cancel" {
				l.Timeout = 1200 * time.Millisecond
			}
			return wrongPeer{l, wrong}
		},
		Event:    NewEvent,
		Patience: 3 * time.Second,
	}
}

func TestTheLedgerPasses(t *testing.T) {
	f := sinkFixture("")
	f.Peer = func(testing.TB) Peer { return &Ledger{Timeout: 200 * time.Millisecond} }
	Sink(t, f)
}

func TestEachWrongSinkFailsTheCheckThatIsAboutIt(t *testing.T) {
	for wrong, want := range map[string]string{
		"has no look-up":                "the declared features are those of the sink",
		"gives up a part silently":      "events of a key have their effects in order",
		"forgets the document":          "events of a key have their effects in order",
		"writes twice":                  "the same event twice",
		"hides a refusal":               "a refused event is a Reject without effect",                 // R1
		"gives plain errors":            "an unavailable peer is NotExecuted and may be tried again",  // R1
		"retries a timeout by itself":   "an answer that never comes is in doubt",                     // R1
		"rejects a timeout":             "cancel ends a write within a second and leaves it in doubt", // R1
		"finds what never was":          "a look-up of what never happened finds nothing",             // R1
		"takes no answer for no effect": "a look-up of what never happened finds nothing",             // R1
		"is deaf to cancel":             "cancel ends a write within a second and leaves it in doubt",
	} {
		t.Run(wrong, func(t *testing.T) {
			if got := run(t, named(t, sinkChecks(), want), sinkFixture(wrong)); len(got) == 0 {
				t.Errorf("%q passes", want)
			}
		})
	}
}
