// Package lane delivers events to sinks: each event once in effect, in order per key, whatever crashes in between.
//
// A lane is one sink, one event topic and one key (R2). One event of a lane is under way at a time; lanes run beside
// each other. Before a request is sent an INTENT is committed, after it the result, through a transactional id that
// fences older owners. An INTENT without a result is in doubt and is settled and looked up, never simply sent again
// (R1). What only a person can decide holds its lane alone.
//
// It knows no business system and never looks into an event, except for the digest of its content. pipeline/run
// starts one Run per sink; nothing else imports it.
package lane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// Options say what to deliver and how. Sink, Events, Client, Log and Now are needed; the rest has defaults.
type Options struct {
	Sink   string   // name, part of topics, groups and transactional ids
	Events []string // event topics without namespace, for example "event.production.v1"
	Client *kafka.Client
	Log    *slog.Logger
	Now    func() time.Time
	Report func(pipeline.Status)
	Count  func(name string, n float64)
	// Held is called once with a function that lists the effects that wait for a person; safe for any goroutine.
	Held func(snapshot func() []*inboxv1.HeldEffect)

	MaxLanes int           // requests to the sink at the same time, over all partitions; default 8
	Timeout  time.Duration // of one request, default 30 s
	Settle   time.Duration // how long the peer may go on after that; default the sink's own, else 30 s
	RetryMin time.Duration // first wait after a refusal without effect, default 500 ms
	RetryMax time.Duration // longest wait, default 60 s

	HoldEvents int           // events that wait behind a held one before the lane moves aside, default 1,000 (R2)
	HoldFor    time.Duration // how long a held event waits before that, default 1 h (R2)

	// Historical also delivers events of back-fill jobs; by default they are skipped (R11).
	Historical bool
	// Naive commits before the effect and keeps no receipts. It loses and doubles events; the crash laboratory uses it
	// to see that its checks find that. No configuration file can set it.
	Naive bool

	commitEvery time.Duration           // of tests
	point       func(name string) error // of tests: a crash when it returns an error
}

func (o *Options) defaults(s pipeline.Sink) {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if st, ok := s.(pipeline.Settler); ok {
		def(&o.Settle, st.Settle())
	}
	def(&o.Settle, 30*time.Second)
	def(&o.Timeout, 30*time.Second)
	def(&o.RetryMin, 500*time.Millisecond)
	def(&o.RetryMax, time.Minute)
	def(&o.HoldFor, time.Hour)
	def(&o.commitEvery, commitEvery)
	if o.HoldEvents <= 0 {
		o.HoldEvents = 1000
	}
	if o.MaxLanes <= 0 {
		o.MaxLanes = 8
	}
	if o.Report == nil {
		o.Report = func(pipeline.Status) {}
	}
	if o.Count == nil {
		o.Count = func(string, float64) {}
	}
	if o.Held == nil {
		o.Held = func(func() []*inboxv1.HeldEffect) {}
	}
	if o.point == nil {
		o.point = func(string) error { return nil }
	}
}

// Run delivers the events of all partitions of o.Events to s until ctx ends (nil), or until it cannot go on: another
// owner has taken over (kafka.ErrFenced), or the broker lost the session. Then it may be called again; it goes on from
// its receipts. When ctx ends, requests under way get most of a second to finish.
func Run(ctx context.Context, s pipeline.Sink, o Options) error {
	o.defaults(s)
	d := newDelivery(s, o)
	o.Held(d.held)
	g, gctx := errgroup.WithContext(ctx)
	for _, events := range o.Events {
		for p := range o.Client.Partitions() {
			g.Go(func() error {
				run := d.runTask
				if o.Naive {
					run = d.runNaive
				}
				if err := run(gctx, events, int32(p)); err != nil {
					return fmt.Errorf("delivering %s/%d to %s: %w", events, p, o.Sink, err)
				}
				return nil
			})
		}
	}
	if len(o.Events) == 0 {
		<-ctx.Done()
	}
	err := g.Wait()
	if ctx.Err() != nil && !errors.Is(err, kafka.ErrFenced) {
		return nil
	}
	return err
}
