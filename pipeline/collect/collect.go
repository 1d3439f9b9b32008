// Package collect runs one source: it makes the source's batches durable in the inbox, keeps its cursor and its
// heartbeats, restarts it when its endpoint is lost, and executes the commands that are addressed to it.
//
// It never looks into values and never talks to a device itself. pipeline/run starts one Run per source.
package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/plantloom/plantloom/internal/wait"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
	"golang.org/x/sync/errgroup"
)

// Options say which source runs, and over what.
type Options struct {
	ID         string
	Tags       []pipeline.Tag
	Client     *kafka.Client
	Partitions int // of the inbox topic
	Log        *slog.Logger
	Now        func() time.Time
	Report     func(pipeline.Status)
	Count      func(name string, n float64)
	Heartbeat  time.Duration // default 1 s (R10)
	// UnsafeCursorFirst saves the cursor before the samples are durable. It exists so that the crash laboratory can
	// show that it would notice; nothing else sets it.
	UnsafeCursorFirst bool
}

// Run runs src until ctx ends, then it returns nil; or until another process takes the source over.
func Run(ctx context.Context, src pipeline.Source, o Options) error {
	if o.Heartbeat == 0 {
		o.Heartbeat = time.Second
	}
	out, err := newOutlet(ctx, o)
	if err != nil {
		return fmt.Errorf("preparing the outlet of source %s: %w", o.ID, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return supervise(ctx, src, o, out) })
	g.Go(func() error { return out.beat(ctx) })
	g.Go(func() error { return out.tidyCursors(ctx) })
	if c, ok := src.(pipeline.Commander); ok {
		g.Go(func() error { return runCommands(ctx, c, o) })
	}
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	} else if errors.Is(err, kafka.ErrFenced) {
		return err
	}
	return nil
}

// supervise calls Run again and again, with a back-off that grows while runs end at once.
func supervise(ctx context.Context, src pipeline.Source, o Options, out *outlet) error {
	const first, longest = 250 * time.Millisecond, 30 * time.Second
	delay := first
	for {
		cursor, err := loadCursor(ctx, o)
		if err != nil {
			return ignoreEnd(ctx, err)
		}
		o.Report(pipeline.Status{State: pipeline.Starting})
		began := o.Now()
		err = src.Run(ctx, cursor, out)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("the source ended by itself")
		}
		if o.Now().Sub(began) > time.Minute {
			delay = first
		}
		o.Count("restarts", 1)
		o.Report(pipeline.Status{State: pipeline.Down, Reason: fmt.Sprintf("%v; trying again", err)})
		o.Log.Warn("source lost, trying again", "connector", o.ID, "wait", delay, "err", err)
		if !wait.For(ctx, time.Duration(float64(delay)*(0.8+0.4*rand.Float64()))) {
			return nil
		}
		delay = min(2*delay, longest)
	}
}

// ignoreEnd turns an error that the end of ctx caused into nil.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
