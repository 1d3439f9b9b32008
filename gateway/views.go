package gateway

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plantloom/plantloom/internal/wait"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// views are the current state of orders, tags, dead letters and components, fed from topics. All methods are safe for
// concurrent use. What a view returns is never changed afterwards.
type views struct {
	o       Options
	changed chan struct{} // one token: readiness may have changed

	mu      sync.RWMutex
	orders  *orderBook
	tags    map[string]*tag
	dead    *deadBook
	reports map[string]report
	watch   map[*watcher]struct{}

	progress progress
}

func newViews(o Options) *views {
	return &views{
		o: o, changed: make(chan struct{}, 1), orders: newOrderBook(o.limits), tags: map[string]*tag{}, dead: newDeadBook(o.limits),
		reports: map[string]report{}, watch: map[*watcher]struct{}{},
		progress: progress{building: 1, trouble: map[string]string{}, skipped: map[string]uint64{}}, // until run knows the partitions
	}
}

// feed is one topic and what to do with its records.
type feed struct {
	topic string
	// apply is called by one goroutine per partition; live is false for records that were there at the start.
	apply  func(r kafka.Record, live bool) error
	newest int64 // of the records that were there at the start only so many are read; 0: all
}

func (v *views) feeds() []feed {
	f := []feed{
		{topic: "order.v1", apply: v.applyOrder}, {topic: "event.production.v1", apply: v.applyProduction},
		{topic: "inbox.v1", apply: v.applyInbox}, {topic: "status.v1", apply: v.applyStatus, newest: v.o.limits.statusReads},
	}
	for _, stage := range append([]string{"source", "dispatch", "map"}, v.o.Sinks...) {
		f = append(f, feed{topic: kafka.DeadTopic(stage), apply: v.applyDead})
	}
	return f
}

// part is one partition of a feed.
type part struct {
	f          feed
	n          int32
	start, end int64 // end is where it counts as caught up
	fetcher    *kafka.Fetcher
}

func (p part) place() string { return fmt.Sprintf("%s/%d", p.f.topic, p.n) }

// run follows every feed until ctx ends. It waits for Kafka as long as it takes and says why in the status.
func (v *views) run(ctx context.Context) error {
	parts := v.parts(ctx)
	if ctx.Err() != nil {
		return nil
	}
	v.begin(len(parts))
	var g errgroup.Group
	for i := range parts {
		g.Go(func() error { v.follow(ctx, &parts[i]); return nil })
	}
	g.Go(func() error { v.observe(ctx, parts); return nil })
	return g.Wait()
}

// parts returns every partition of every feed, once Kafka has said where they begin and end.
func (v *views) parts(ctx context.Context) []part {
	counts := v.partitions()
	for ctx.Err() == nil {
		var parts []part
		err := func() error {
			for _, f := range v.feeds() {
				topic := v.o.Client.Topic(f.topic)
				for i := range counts[topic] {
					start, end, err := offsets(ctx, v.o.Client, topic, int32(i), v.o.limits.patience)
					if err != nil {
						return err
					}
					if f.newest > 0 {
						start = max(start, end-f.newest)
					}
					parts = append(parts, part{f, int32(i), start, end, v.o.Client.NewFetcher(topic, int32(i), start, kafka.FetchOptions{})})
				}
			}
			return nil
		}()
		if err == nil {
			v.say("", "")
			return parts
		}
		v.say("", err.Error())
		wait.For(ctx, 500*time.Millisecond)
	}
	return nil
}

// partitions returns the number of partitions of every topic of the plant.
func (v *views) partitions() map[string]int {
	sinks := map[string][]string{}
	for _, s := range v.o.Sinks {
		sinks[s] = nil
	}
	counts := map[string]int{}
	for _, t := range kafka.Topics(v.o.Client.Namespace(), v.o.Partitions, sinks) {
		counts[t.Name] = t.Partitions
	}
	return counts
}

// follow applies one partition's records until ctx ends. Nothing that happens to one partition ends the API.
func (v *views) follow(ctx context.Context, p *part) {
	caught := false
	for ctx.Err() == nil {
		if !caught && p.fetcher.Position() >= p.end {
			caught = true
			v.caughtUp()
		}
		recs, err := p.fetcher.Fetch(ctx)
		if err != nil && ctx.Err() == nil {
			v.mend(ctx, p, err)
			continue
		}
		for _, r := range recs {
			if err := guarded(func() error { return p.f.apply(r, caught) }); err != nil {
				v.skip(p.f.topic)
				v.o.Log.Error("a record cannot be shown; the view goes on without it", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "err", err)
			}
		}
		if len(recs) > 0 {
			v.say(p.place(), "")
		}
	}
}

// mend decides what a fetch's final error means for the view.
func (v *views) mend(ctx context.Context, p *part, err error) {
	var gone *kafka.OutOfRange
	var bad *kafka.Unreadable
	switch {
	case errors.As(err, &gone):
		// Views are a picture of what the topic still holds; what retention removed is not in it (R18). Of a log that
		// was reset all is read again: events are told apart by their ids.
		v.o.Log.Warn("the view's place in the log is gone; it goes on at the oldest record", "topic", gone.Topic, "partition", gone.Partition, "asked", gone.Asked, "start", gone.Start, "end", gone.End)
		p.end = min(p.end, gone.End)
		p.fetcher.SkipTo(gone.Start)
	case errors.As(err, &bad):
		v.skip(p.f.topic)
		v.o.Log.Error("a batch cannot be read; the view goes on behind it", "topic", bad.Topic, "partition", bad.Partition, "offset", bad.Offset, "next", bad.Next, "err", bad.Err)
		p.fetcher.SkipTo(bad.Next)
	default:
		v.say(p.place(), err.Error())
		v.o.Log.Error("a topic cannot be read; the view stands still and tries again", "topic", p.f.topic, "partition", p.n, "err", err)
		wait.For(ctx, 5*time.Second)
	}
}

// observe tells in the status when a partition does not get through for longer than a moment, and when it does again.
func (v *views) observe(ctx context.Context, parts []part) {
	const every = 250 * time.Millisecond
	stuck := make([]time.Duration, len(parts))
	for ctx.Err() == nil {
		for i := range parts {
			err := parts[i].fetcher.Trouble()
			switch {
			case err == nil && stuck[i] == 0:
				continue
			case err == nil:
				stuck[i] = 0
				v.say(parts[i].place(), "")
			default:
				if stuck[i] += every; stuck[i] >= v.o.limits.patience {
					v.say(parts[i].place(), err.Error())
				}
			}
		}
		wait.For(ctx, every)
	}
}

// offsets asks for the two ends of a partition, and says why it has no answer within patience.
func offsets(ctx context.Context, c *kafka.Client, topic string, part int32, patience time.Duration) (start, end int64, err error) {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start, end, err = c.Offsets(within, topic, part)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return start, end, err
	}
	again, cancelAgain := context.WithTimeout(ctx, patience)
	defer cancelAgain()
	if why := c.Ping(again); why != nil {
		return 0, 0, why
	}
	return 0, 0, fmt.Errorf("topic %s is not there, or has no leader: %w", topic, err)
}

// guarded calls f and turns a panic into an error with its stack.
func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return f()
}
