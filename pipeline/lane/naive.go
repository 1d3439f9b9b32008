package lane

import (
	"context"
	"errors"
	"fmt"

	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// runNaive does what R1 and R2 forbid: it commits before the effect, sends again whatever has no answer, and keeps no
// receipts. Checks of the crash laboratory must fail on it.
func (d *delivery) runNaive(ctx context.Context, events string, part int32) error {
	topic, group := d.o.Client.Topic(events), d.o.Client.Topic("deliver."+d.o.Sink)
	from, ok, err := d.o.Client.CommittedOffset(ctx, group, topic, part)
	if err != nil {
		return err
	}
	if !ok {
		from = 0
	}
	f := d.o.Client.NewFetcher(topic, part, from, kafka.FetchOptions{})
	for ctx.Err() == nil {
		recs, err := f.Fetch(ctx)
		if err != nil {
			return fmt.Errorf("reading events: %w", err)
		}
		for _, r := range recs {
			if err := d.o.Client.CommitOffset(ctx, group, topic, part, r.Offset+1); err != nil {
				return err
			}
			if err := d.sendNaive(ctx, newWork(r)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *delivery) sendNaive(ctx context.Context, w *work) error {
	for {
		if err := d.o.point("before write"); err != nil {
			return err
		}
		wctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
		_, err := d.sink.Write(wctx, []pipeline.Event{w.event})
		cancel()
		if perr := d.o.point("after write"); perr != nil {
			return perr
		}
		var no *pipeline.Reject
		if err == nil || errors.As(err, &no) {
			return nil
		}
		if err := sleep(ctx, jitter(d.o.RetryMin)); err != nil {
			return err
		}
	}
}
