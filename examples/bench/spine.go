package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/collect"
	"github.com/plantloom/plantloom/pipeline/kafka"
	"github.com/plantloom/plantloom/pipeline/mapper"
	"github.com/plantloom/plantloom/pipeline/step"
)

// workload is what one run moves.
type workload struct {
	Plant                                string // directory of the bottling line's files
	Samples, Machines, Batch, Partitions int
	CursorBytes                          int
}

// spineJob says what the child process runs: collect, map or both.
type spineJob struct {
	workload
	Broker       string
	Collect, Map bool
	Events       int64 // that the samples give; the run ends when so many are committed
}

// spineResult is what the child saw. Records are counted by the parent, in the topics.
type spineResult struct {
	Wall  time.Duration
	Used  usage // between start and end
	Steps int64 // commits of the map role
}

// stallLimit is how long a run may stand still before it is given up.
const stallLimit = 60 * time.Second

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serveSpine is the child that runs the roles. It says that it is ready, begins with the parent's word, and ends with
// its result; so the parent looks at the broker at the same two instants.
func serveSpine(ctx context.Context, p parent, now func() time.Time) error {
	s := spine{now: now, begin: make(chan struct{})}
	if err := p.dec.Decode(&s.job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	defer s.client.Close()
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g.Go(func() error {
		defer stop() // the roles run until the measurement is over
		return s.measure(ctx, p)
	})
	if s.job.Collect {
		g.Go(func() error { return s.collect(ctx) })
	}
	if s.job.Map {
		for part := range s.job.Partitions {
			g.Go(func() error { return s.mapPartition(ctx, int32(part)) })
		}
	}
	return g.Wait()
}

// measure lets the roles begin when the parent says so, waits until they are done, and hands over what they took.
func (s *spine) measure(ctx context.Context, p parent) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	var word string
	if err := errors.Join(p.enc.Encode("ready"), p.dec.Decode(&word)); err != nil {
		return fmt.Errorf("waiting for the start: %w", err)
	}
	before, err := used()
	if err != nil {
		return err
	}
	began := s.now()
	close(s.begin)
	if err := s.wait(ctx); err != nil {
		return err
	}
	r := spineResult{Wall: s.now().Sub(began), Steps: s.steps.Load()}
	after, err := used()
	if err != nil {
		return err
	}
	r.Used = after.since(before)
	if err := errors.Join(p.enc.Encode(r), p.dec.Decode(&word)); err != nil { // the parent looks at the broker meanwhile
		return fmt.Errorf("handing over the result: %w", err)
	}
	return nil
}

// spine is the run in its process.
type spine struct {
	job      spineJob
	now      func() time.Time
	client   *kafka.Client
	set      *mapping.Set
	tags     []pipeline.Tag
	begin    chan struct{} // closed: go
	restored chan struct{} // one of each map partition that has read its state
	emitted  atomic.Int64  // samples that are durable in the inbox
	mapped   atomic.Int64  // events that are committed
	steps    atomic.Int64
}

func (s *spine) prepare(ctx context.Context) (err error) {
	if s.set, s.tags, err = loadSet(s.job.Plant, s.job.Machines); err != nil {
		return err
	}
	s.restored = make(chan struct{}, s.job.Partitions)
	s.client, err = open(ctx, s.job.Broker, s.job.Partitions, s.now)
	return err
}

// done says whether everything is durable that this run has to make so.
func (s *spine) done() bool {
	return (!s.job.Collect || s.emitted.Load() >= int64(s.job.Samples)) && (!s.job.Map || s.mapped.Load() >= s.job.Events)
}

// ready returns when every role waits for the start.
func (s *spine) ready(ctx context.Context) error {
	if !s.job.Map {
		return nil
	}
	for range s.job.Partitions {
		select {
		case <-s.restored:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// begun returns when the measurement begins.
func (s *spine) begun(ctx context.Context) error {
	select {
	case <-s.begin:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait returns when the run is complete. It looks every 2 ms, which bounds what the wall time is wrong by.
func (s *spine) wait(ctx context.Context) error {
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	last, moved := int64(0), s.now()
	for !s.done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
		if n := s.emitted.Load() + s.mapped.Load(); n != last {
			last, moved = n, s.now()
		} else if s.now().Sub(moved) > stallLimit {
			return fmt.Errorf("the run stands still after %d samples and %d of %d events", s.emitted.Load(), s.mapped.Load(), s.job.Events)
		}
	}
	return nil
}

// collect runs the collect role over a source that emits as fast as Emit returns.
func (s *spine) collect(ctx context.Context) error {
	if s.begun(ctx) != nil {
		return nil // another role has failed, and says why
	}
	return collect.Run(ctx, s, collect.Options{
		ID: sourceID, Tags: s.tags, Client: s.client, Partitions: s.job.Partitions, Log: quiet(), Now: s.now,
		Report: func(pipeline.Status) {}, Count: func(string, float64) {},
	})
}

var _ pipeline.Source = (*spine)(nil)

// Run implements pipeline.Source.
func (s *spine) Run(ctx context.Context, _ []byte, out pipeline.Outlet) error {
	f, cursor := newFleet(s.job.Machines), cursorOf(s.job.CursorBytes)
	var samples []pipeline.Sample
	for left := s.job.Samples; left > 0; left -= len(samples) {
		samples = f.next(samples[:0], min(left, s.job.Batch))
		if err := out.Emit(ctx, batch(samples, cursor)); err != nil {
			return err
		}
		if left > len(samples) {
			s.emitted.Add(int64(len(samples)))
		}
	}
	if err := out.Emit(ctx, batch(f.tail(), cursor)); err != nil {
		return err
	}
	s.emitted.Add(int64(len(samples))) // the last of them count when the tail is durable too
	<-ctx.Done()
	return nil
}

// mapPartition runs the map role over one partition of the inbox.
func (s *spine) mapPartition(ctx context.Context, part int32) error {
	m := &watched{Machine: mapper.New(mapper.Options{
		Client: s.client, Current: s.set, Config: engine.Config{Site: site}, Log: quiet(), Count: func(string, float64) {},
		Kept: func(string) (*mapping.Set, error) { return s.set, nil },
	}), events: s.client.Topic("event.")}
	return step.Run(ctx, m, step.Options{
		Task: "map", Input: s.client.Topic("inbox.v1"), State: s.client.Topic("state.v1"), Partition: part, Client: s.client,
		Log: quiet(), Now: s.now,
		Gauge: func(name string, _ float64) {
			if name == "input_offset" { // set after each commit
				s.mapped.Add(m.applied)
				s.steps.Add(1)
				m.applied = 0
			}
		},
		Restored: func(ctx context.Context) error {
			s.restored <- struct{}{}
			return s.begun(ctx)
		},
	})
}

// watched counts the events that a machine gave since the last commit, to know when the run is complete.
type watched struct {
	step.Machine
	events  string
	applied int64
}

// Apply implements step.Machine.
func (w *watched) Apply(r kafka.Record) ([]kafka.Record, error) {
	recs, err := w.Machine.Apply(r)
	for i := range recs {
		if strings.HasPrefix(recs[i].Topic, w.events) {
			w.applied++
		}
	}
	return recs, err
}
