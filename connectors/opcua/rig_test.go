package opcua_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua"
	"github.com/plantloom/plantloom/internal/uaserver"
	"github.com/plantloom/plantloom/pipeline"
)

const (
	patience  = 20 * time.Second
	namespace = "urn:test:plant"
	items     = 20
)

// plant is a server whose variables count: the value of each tag rises by one with every change, and its source time
// by a millisecond, so that loss, repetition and order are decided exactly.
type plant struct {
	t    *testing.T
	opts uaserver.Options
	srv  *uaserver.Server
	vars []*uaserver.Var
	tags []pipeline.Tag
	at   time.Time

	mu    sync.Mutex // held while ticks are made
	ticks int64
}

func newPlant(t *testing.T, change func(*uaserver.Options)) *plant {
	t.Helper()
	p := &plant{t: t, at: time.Now().UTC().Truncate(time.Millisecond)}
	p.opts = uaserver.Options{NamespaceURI: namespace, Now: time.Now, Lean: true}
	if change != nil {
		change(&p.opts)
	}
	for i := range items {
		p.tags = append(p.tags, pipeline.Tag{
			ID: fmt.Sprintf("L1/T%d", i), Address: fmt.Sprintf("nsu=%s;s=T%d", namespace, i), Asset: "a/b/c/L1",
		})
	}
	p.boot()
	return p
}

// boot starts a server with the plant's variables at their present values.
func (p *plant) boot() {
	p.t.Helper()
	srv, err := uaserver.New(p.opts)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.srv, p.vars = srv, nil
	for i := range items {
		p.vars = append(p.vars, srv.Add(fmt.Sprintf("T%d", i), uaserver.Variable{Value: p.ticks, At: p.time(p.ticks), Historize: true, Writable: true}))
	}
	if err := srv.Start(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	p.opts.Addr = srv.URL()[len("opc.tcp://"):]
	p.t.Cleanup(func() { _ = srv.Close() })
}

func (p *plant) time(tick int64) time.Time { return p.at.Add(time.Duration(tick) * time.Millisecond) }

// tick changes every variable once.
func (p *plant) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ticks++
	p.srv.Update(func(tx *uaserver.Tx) {
		for _, v := range p.vars {
			tx.Set(v, p.ticks, ua.StatusOK, p.time(p.ticks))
		}
	})
}

// run makes a tick every 5 ms until the test ends; the returned function ends it earlier.
func (p *plant) run() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(5 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				p.tick()
			}
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { close(done); <-ended }) }
	p.t.Cleanup(stop)
	return stop
}

func (p *plant) count() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ticks
}

// sink is an outlet that keeps what a durable store would keep.
type sink struct {
	mu      sync.Mutex
	batches []pipeline.Batch
	cursor  []byte
	before  []byte // the cursor before that
	gate    chan struct{}
	fail    error
	seen    map[string]bool   // session and position
	from    map[string]string // identity of a sample, to the session that brought it
	order   []pipeline.Sample
	repeats int
}

func newSink() *sink { return &sink{seen: map[string]bool{}, from: map[string]string{}} }

func (s *sink) Emit(ctx context.Context, b pipeline.Batch) error {
	s.mu.Lock()
	gate, fail := s.gate, s.fail
	s.fail = nil
	s.mu.Unlock()
	if fail != nil {
		return fail
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b.Samples = slices.Clone(b.Samples)
	s.batches = append(s.batches, b)
	if b.Cursor != nil {
		s.before, s.cursor = s.cursor, slices.Clone(b.Cursor)
	}
	for _, smp := range b.Samples {
		if key := fmt.Sprint(b.Session, "#", smp.Position); smp.Position != 0 { // R7
			if s.seen[key] {
				s.repeats++
				continue
			}
			s.seen[key] = true
		}
		// R7: across sessions, and without a position, a sample that is equal to one before is a repeat.
		identity := fmt.Sprint(smp.Tag, smp.At.UnixNano(), smp.Quality, smp.Value)
		if session, ok := s.from[identity]; ok && (smp.Position == 0 || session != b.Session) {
			s.repeats++
			continue
		}
		s.from[identity] = b.Session
		s.order = append(s.order, smp)
	}
	return nil
}

// forget takes the newest cursor away, as when a crash comes between the samples and their cursor.
func (s *sink) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before != nil {
		s.cursor = s.before
	}
}

func (s *sink) block() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = make(chan struct{})
}

func (s *sink) unblock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.gate)
	s.gate = nil
}

func (s *sink) saved() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor
}

func (s *sink) samples(tag string) []pipeline.Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []pipeline.Sample
	for _, smp := range s.order {
		if tag == "" || smp.Tag == tag {
			out = append(out, smp)
		}
	}
	return out
}

// rig is a source on a plant with a supervisor that calls Run again, as the runtime does.
type rig struct {
	*plant
	sink   *sink
	config opcua.Config
	dir    string
	change func(*pipeline.Host)

	mu       sync.Mutex
	errs     []error
	statuses []pipeline.Status
	counts   map[string]float64

	source pipeline.Source
	cancel context.CancelFunc
	ended  chan struct{}
}

func newRig(t *testing.T, p *plant, change func(*opcua.Config)) *rig {
	t.Helper()
	r := &rig{plant: p, sink: newSink(), dir: t.TempDir(), counts: map[string]float64{}}
	r.config = *opcua.Kind().Config().(*opcua.Config)
	r.config.Endpoint = p.srv.URL()
	r.config.Security.Policy, r.config.Security.AllowInsecure = opcua.PolicyNone, true
	r.config.PublishingInterval, r.config.SamplingInterval = 20*time.Millisecond, 0
	r.config.QueueSize, r.config.KeepaliveInterval = 1000, 200*time.Millisecond
	r.config.ConnectTimeout = 2 * time.Second
	if change != nil {
		change(&r.config)
	}
	return r
}

func (r *rig) host() pipeline.Host {
	h := pipeline.Host{
		ID: "plc", Log: slog.New(slog.NewTextHandler(testWriter{r.t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Now: time.Now, Dir: r.dir, StateDir: r.dir, Tags: r.tags,
		Report: func(s pipeline.Status) { r.mu.Lock(); defer r.mu.Unlock(); r.statuses = append(r.statuses, s) },
		Count:  func(name string, n float64) { r.mu.Lock(); defer r.mu.Unlock(); r.counts[name] += n },
		Gauge:  func(string, float64) {},
	}
	if r.change != nil {
		r.change(&h)
	}
	return h
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		fmt.Printf("%s: %s", w.t.Name(), b)
	}
	return len(b), nil
}

// start begins a process: a new source value with the saved cursor.
func (r *rig) start() {
	r.t.Helper()
	src, err := opcua.Kind().Source(&r.config, r.host())
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.source, r.cancel, r.ended = src, cancel, make(chan struct{})
	go r.supervise(ctx, src, r.ended)
	r.t.Cleanup(r.stop)
}

func (r *rig) supervise(ctx context.Context, src pipeline.Source, ended chan<- struct{}) {
	defer close(ended)
	for ctx.Err() == nil {
		err := src.Run(ctx, r.sink.saved(), r.sink)
		if ctx.Err() != nil {
			if err != nil {
				r.t.Errorf("Run returned %v after its context ended, want nil", err)
			}
			return
		}
		r.mu.Lock()
		r.errs = append(r.errs, err)
		r.mu.Unlock()
		if testing.Verbose() {
			fmt.Printf("%s: Run: %v\n", r.t.Name(), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the process in an orderly way.
func (r *rig) stop() {
	r.cancel()
	select {
	case <-r.ended:
	case <-time.After(2 * time.Second):
		r.t.Error("Run did not return")
	}
}

// crash ends the process without a word to the server.
func (r *rig) crash() {
	r.srv.DropConnections()
	r.srv.Refuse(true)
	r.stop()
	r.srv.Refuse(false)
}

func (r *rig) counted(name string) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[name]
}

// status is what the source reported last.
func (r *rig) status() pipeline.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.statuses[len(r.statuses)-1]
}

// failures are what Run returned so far.
func (r *rig) failures() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs)
}

func (r *rig) await(what string, f func() bool) {
	r.t.Helper()
	end := time.After(patience)
	for !f() {
		select {
		case <-end:
			r.t.Fatalf("still not after %v: %s", patience, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// awaitTick waits until every tag's newest value is that tick's or a later one.
func (r *rig) awaitTick(tick int64) {
	r.t.Helper()
	r.await(fmt.Sprintf("tick %d has arrived", tick), func() bool { return r.reached() >= tick })
}

func (r *rig) reached() int64 {
	newest := map[string]int64{}
	for _, s := range r.sink.samples("") {
		newest[s.Tag] = max(newest[s.Tag], s.Value.AsInt()+1)
	}
	low := int64(math.MaxInt64)
	for _, tag := range r.tags {
		low = min(low, newest[tag.ID]-1)
	}
	return low
}

// exact fails the test unless every tag's values rise by exactly one, without loss, repetition or disorder. The state
// that a new subscription begins with may repeat the value before it.
func (r *rig) exact() {
	r.t.Helper()
	for _, tag := range r.tags {
		var last int64 = -1
		for i, s := range r.sink.samples(tag.ID) {
			v := s.Value.AsInt()
			switch {
			case s.Quality.IsBad():
				r.t.Fatalf("%s: sample %d is %v at %v", tag.ID, i, s.Quality, s.At)
			case !s.At.Equal(r.time(v)):
				r.t.Fatalf("%s: value %d has the time of another one", tag.ID, v)
			case s.Flags&pipeline.FlagInitial != 0 && v == last:
			case last >= 0 && v != last+1:
				r.t.Fatalf("%s: value %d comes after %d (flags %b)", tag.ID, v, last, s.Flags)
			}
			last = v
		}
	}
}

var errStore = errors.New("the durable store has failed")
