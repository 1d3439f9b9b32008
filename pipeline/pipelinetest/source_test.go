package pipelinetest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// memory is a device that keeps its readings, like a historian. wrong names what
// its sources do wrong.
type memory struct {
	wrong   string
	mu      sync.Mutex
	log     []Reading
	acked   int
	away    bool
	changed chan struct{}
}

func (m *memory) Source(testing.TB) pipeline.Source { return &memorySource{device: m} }
func (m *memory) Ready(testing.TB)                  {}
func (m *memory) Stop(testing.TB)                   { m.change(func() { m.away = true }) }
func (m *memory) Start(testing.TB)                  { m.change(func() { m.away = false }) }
func (m *memory) Put(_ testing.TB, r ...Reading)    { m.change(func() { m.log = append(m.log, r...) }) }

func (m *memory) Acknowledged() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.acked
}

func (m *memory) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) after(n int) (fresh []Reading, away bool, changed chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log[min(n, len(m.log)):]), m.away, m.changed
}

type memorySource struct{ device *memory }

func (s *memorySource) Run(ctx context.Context, cursor []byte, out pipeline.Outlet) error {
	d, next := s.device, 0
	if cursor != nil && d.wrong != "ignores the cursor and begins at the end" {
		if err := json.Unmarshal(cursor, &next); err != nil {
			return err
		}
	} else if cursor != nil {
		fresh, _, _ := d.after(0)
		next = len(fresh)
	}
	if d.wrong == "leaves a goroutine" {
		go func() { <-make(chan int) }()
	}
	for {
		fresh, away, changed := d.after(next)
		if away && d.wrong != "does not notice the loss" {
			return errors.New("the device is away")
		}
		if len(fresh) == 0 || away {
			if d.wrong == "is deaf to cancel" {
				ctx = context.Background()
			}
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				if d.wrong == "returns an error after cancel" {
					return ctx.Err()
				}
				return nil
			}
		}
		if d.wrong == "acknowledges first" {
			d.change(func() { d.acked = next + len(fresh) })
		}
		err := s.emit(ctx, next, fresh, out)
		switch {
		case ctx.Err() != nil && d.wrong != "returns an error after cancel":
			return nil
		case err != nil && d.wrong == "goes on after an error":
			next += len(fresh)
			continue
		case err != nil:
			return err
		}
		next += len(fresh)
		d.change(func() { d.acked = next })
	}
}

func (s *memorySource) emit(ctx context.Context, next int, fresh []Reading, out pipeline.Outlet) error {
	wrong := s.device.wrong
	b := pipeline.Batch{Session: "log", State: pipeline.StateLive, Cursor: []byte(strconv.Itoa(next + len(fresh)))}
	for i, r := range fresh {
		x := pipeline.Sample{
			Tag: r.Tag, Value: r.Value, Quality: r.Quality, At: r.At, Seen: r.At.Add(time.Second), Position: uint64(next + i + 1),
		}
		switch wrong {
		case "makes everything good":
			x.Quality = pipeline.Good
		case "gives its own time":
			x.At = x.Seen
		case "gives local time":
			x.At = x.At.In(time.FixedZone("X", 3600))
		case "has no positions":
			x.Position = 0
		case "counts positions anew":
			x.Position = uint64(i + 1)
		case "loses a reading":
			if next+i == 4 {
				continue
			}
		}
		b.Samples = append(b.Samples, x)
	}
	if wrong == "turns a batch round" {
		slices.Reverse(b.Samples)
	}
	b.Watermark = fresh[len(fresh)-1].At
	if wrong == "moves the watermark back" {
		b.Watermark = beginAt().Add(-time.Duration(next) * time.Hour)
	}
	if wrong == "emits twice at once" {
		go func() { _ = out.Emit(ctx, pipeline.Batch{}) }()
	}
	if wrong == "drops while it is blocked" {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		_ = out.Emit(ctx, b)
		return nil
	}
	return out.Emit(ctx, b)
}

func memoryFixture(wrong string) SourceFixture {
	return SourceFixture{
		Device:    func(testing.TB) Device { return &memory{wrong: wrong, changed: make(chan struct{})} },
		Tags:      []string{"a", "b"},
		Qualities: []pipeline.Quality{pipeline.Good, pipeline.Uncertain, pipeline.BadTimeout},
		Patience:  400 * time.Millisecond,
	}
}

func TestARightSourcePasses(t *testing.T) {
	f := memoryFixture("")
	f.Patience = 0
	Source(t, f)
}

func TestEachWrongSourceFailsTheCheckThatIsAboutIt(t *testing.T) {
	for wrong, want := range map[string]string{
		"makes everything good":                    "value, quality and device time are kept",
		"gives its own time":                       "value, quality and device time are kept",
		"gives local time":                         "value, quality and device time are kept",
		"has no positions":                         "value, quality and device time are kept",
		"counts positions anew":                    "readings of a tag arrive in their order", // R7
		"turns a batch round":                      "readings of a tag arrive in their order",
		"loses a reading":                          "readings of a tag arrive in their order",
		"moves the watermark back":                 "readings of a tag arrive in their order", // R10
		"drops while it is blocked":                "a blocked outlet holds the source and loses nothing",
		"emits twice at once":                      "a blocked outlet holds the source and loses nothing",
		"goes on after an error":                   "a failed emit ends the run and loses nothing",
		"acknowledges first":                       "nothing is acknowledged before emit returns nil",
		"does not notice the loss":                 "a lost endpoint ends the run and comes back",
		"ignores the cursor and begins at the end": "a new process goes on at the cursor",
		"is deaf to cancel":                        "cancel ends an idle run within a second",
		"returns an error after cancel":            "cancel ends an idle run within a second",
		"leaves a goroutine":                       "cancel ends an idle run within a second",
	} {
		t.Run(wrong, func(t *testing.T) {
			if got := run(t, named(t, sourceChecks(), want), memoryFixture(wrong)); len(got) == 0 {
				t.Errorf("%q passes", want)
			}
		})
	}
}

func TestAWrongDeclarationIsFound(t *testing.T) {
	for name, change := range map[string]func(*SourceFixture){
		"commands":  func(f *SourceFixture) { f.Commands = true },
		"positions": func(f *SourceFixture) { f.NoPositions = true },
		"cursor":    func(f *SourceFixture) { f.NoCursor = true },
		"a gap":     func(f *SourceFixture) { f.Forgets = true },
	} {
		t.Run(name, func(t *testing.T) {
			f := memoryFixture("")
			change(&f)
			if !anyFails(t, sourceChecks(), f) {
				t.Error("the suite passes")
			}
		})
	}
}
