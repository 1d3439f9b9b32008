package pipelinetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// shelf is a store in memory. What is on it is durable; wrong names what its
// outlets do wrong.
type shelf struct {
	wrong   string
	mu      sync.Mutex
	samples []pipeline.Sample
	cursor  []byte
	away    bool
	back    chan struct{} // closed while the store is there
	pending []pipeline.Sample
}

func (s *shelf) Outlet(testing.TB) pipeline.Outlet { return (*shelfOutlet)(s) }

func (s *shelf) Crash(testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = nil
}

func (s *shelf) Stored(testing.TB) ([]pipeline.Sample, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(slices.Clone(s.samples), s.pending...), s.cursor
}

func (s *shelf) Stop(testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.back = true, make(chan struct{})
}

func (s *shelf) Start(testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
	close(s.back)
}

type shelfOutlet shelf

func (o *shelfOutlet) Emit(ctx context.Context, b pipeline.Batch) error {
	o.mu.Lock()
	away, back := o.away, o.back
	o.mu.Unlock()
	if away {
		switch o.wrong {
		case "fails while the store is away":
			return errors.New("away")
		case "says nil while the store is away":
			return nil
		case "is deaf to ctx":
			<-back
		}
		select {
		case <-back:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	samples := slices.Clone(b.Samples)
	switch o.wrong {
	case "keeps the caller's slices":
		samples = b.Samples
	case "loses the server time":
		for i := range samples {
			samples[i].ServerAt = time.Time{}
		}
	case "turns samples round":
		slices.Reverse(samples)
	case "writes later":
		o.pending = append(o.pending, samples...)
		samples = nil
	}
	if o.wrong == "keeps the caller's slices" {
		if o.samples = samples; b.Cursor != nil {
			o.cursor = b.Cursor
		}
		return nil
	}
	o.samples = append(o.samples, samples...)
	if b.Cursor != nil || o.wrong == "forgets the cursor" {
		o.cursor = bytes.Clone(b.Cursor)
	}
	return nil
}

func outletFixture(wrong string) OutletFixture {
	return OutletFixture{
		Store:    func(testing.TB) Store { return &shelf{wrong: wrong} },
		Tags:     []pipeline.Tag{{ID: "a", Asset: "s/l1"}, {ID: "b", Asset: "s/l2"}, {ID: "c", Asset: "s/l1"}},
		Patience: 2 * time.Second,
	}
}

func TestARightOutletPasses(t *testing.T) {
	Outlet(t, outletFixture(""))
}

func TestEachWrongOutletFailsTheCheckThatIsAboutIt(t *testing.T) {
	for wrong, want := range map[string]string{
		"loses the server time":            "nil means durable, of every asset and with every field",
		"turns samples round":              "nil means durable, of every asset and with every field",
		"writes later":                     "a crash after nil loses nothing",
		"forgets the cursor":               "the cursor is saved with its batch, and stays when a batch has none",
		"keeps the caller's slices":        "the caller may reuse the slices after emit",
		"fails while the store is away":    "while the store is away emit blocks, and loses nothing",
		"says nil while the store is away": "while the store is away emit blocks, and loses nothing",
		"is deaf to ctx":                   "the end of ctx ends a blocked emit within a second",
	} {
		t.Run(wrong, func(t *testing.T) {
			if got := run(t, named(t, outletChecks(), want), outletFixture(wrong)); len(got) == 0 {
				t.Errorf("%q passes", want)
			}
		})
	}
}
