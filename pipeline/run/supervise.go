package run

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/plantloom/plantloom/internal/wait"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// keep runs f until ctx ends, and again after it failed or panicked, with a back-off that grows while it fails at once.
// One component that fails never takes the others down.
func (p *process) keep(ctx context.Context, c *component, f func(context.Context) error) error {
	const first, longest = 500 * time.Millisecond, 30 * time.Second
	delay := first
	for ctx.Err() == nil {
		began := p.o.Now()
		err := guarded(ctx, f)
		if ctx.Err() != nil {
			break
		}
		if p.o.Now().Sub(began) > time.Minute {
			delay = first
		}
		reason := "ended by itself; starting again"
		switch {
		case errors.Is(err, kafka.ErrFenced):
			// After the broker's crash this mends itself; when it does not, two processes run the same plant.
			reason = "another process has taken this over, or the broker lost our session; trying again. If it stays, stop the other process that runs this plant directory"
		case err != nil:
			reason = err.Error() + "; starting again"
		}
		c.report(pipeline.Status{State: pipeline.Down, Reason: reason})
		c.count("restarts", 1)
		p.o.Log.Warn("component failed, starting it again", "component", c.name, "wait", delay, "err", err)
		if !wait.For(ctx, time.Duration(float64(delay)*(0.8+0.4*rand.Float64()))) {
			break
		}
		delay = min(2*delay, longest)
	}
	c.report(pipeline.Status{State: pipeline.Stopped})
	return nil
}

// guarded calls f and turns a panic into an error with its stack.
func guarded(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return f(ctx)
}
