package gateway

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// maxDeadLetters bounds the dead letters in memory; the topics keep more.
const maxDeadLetters = 10_000

// views are the current state of orders, tags, dead letters and components, fed from topics. All methods are safe for
// concurrent use. What a view returns is never changed afterwards.
type views struct {
	o        Options
	catching atomic.Int32 // partitions that have not reached their end yet
	trouble  atomic.Pointer[string]

	mu      sync.RWMutex
	orders  map[string]*order
	tags    map[string]*gatewayv1.TagValue
	dead    []*inboxv1.DeadLetter // the oldest first
	reports map[string]*inboxv1.StatusReport
	watch   map[*watcher]struct{}
}

func newViews(o Options) *views {
	v := &views{
		o: o, orders: map[string]*order{}, tags: map[string]*gatewayv1.TagValue{},
		reports: map[string]*inboxv1.StatusReport{}, watch: map[*watcher]struct{}{},
	}
	v.catching.Store(1) // until run knows the partitions
	return v
}

// feed is one topic and what to do with its records.
type feed struct {
	topic string
	apply func(kafka.Record) error
}

func (v *views) feeds() []feed {
	f := []feed{
		{"order.v1", v.applyOrder}, {"event.production.v1", v.applyProduction}, {"inbox.v1", v.applyInbox}, {"status.v1", v.applyStatus},
		{"dlq.source.v1", v.applyDead}, {"dlq.dispatch.v1", v.applyDead}, {"dlq.map.v1", v.applyDead},
	}
	for _, s := range v.o.Sinks {
		f = append(f, feed{"dlq." + s + ".v1", v.applyDead})
	}
	return f
}

// run follows every feed until ctx ends. It waits for Kafka as long as it takes and says why in the status.
func (v *views) run(ctx context.Context) error {
	type part struct {
		f     feed
		n     int32
		start int64
		end   int64
	}
	counts := v.partitions()
	var parts []part
	for ctx.Err() == nil {
		parts = parts[:0]
		err := func() error {
			for _, f := range v.feeds() {
				topic := v.o.Client.Topic(f.topic)
				for i := range counts[topic] {
					start, end, err := v.o.Client.Offsets(ctx, topic, int32(i))
					if err != nil {
						return err
					}
					parts = append(parts, part{f, int32(i), start, end})
				}
			}
			return nil
		}()
		if err == nil {
			break
		}
		v.say(fmt.Sprintf("the topics cannot be read: %v", err))
		pause(ctx, 500*time.Millisecond)
	}
	v.say("")
	v.catching.Add(int32(len(parts)) - 1)
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range parts {
		g.Go(func() error { return v.follow(ctx, p.f, p.n, p.start, p.end) })
	}
	return g.Wait()
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

// follow applies one partition's records for ever; end is where it counts as caught up.
func (v *views) follow(ctx context.Context, f feed, part int32, from, end int64) error {
	topic := v.o.Client.Topic(f.topic)
	caught := false
	for ctx.Err() == nil {
		fetcher := v.o.Client.NewFetcher(topic, part, from, kafka.FetchOptions{})
		for ctx.Err() == nil {
			if !caught && fetcher.Position() >= end {
				caught = true
				v.catching.Add(-1)
			}
			recs, err := fetcher.Fetch(ctx)
			var gone *kafka.OutOfRange
			if errors.As(err, &gone) {
				// Views are a picture of what the topic still holds; what retention removed is not in it (R18).
				v.o.Log.Warn("records were removed before the view read them", "topic", topic, "partition", part, "asked", gone.Asked, "start", gone.Start)
				from = gone.Start
				break
			}
			if err != nil {
				return endOr(ctx, fmt.Errorf("reading %s/%d: %w", topic, part, err))
			}
			v.applyAll(f, recs)
			from = fetcher.Position()
		}
	}
	return nil
}

func (v *views) applyAll(f feed, recs []kafka.Record) {
	for _, r := range recs {
		if err := f.apply(r); err != nil {
			v.o.Log.Error("a record cannot be shown; the view goes on without it", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "err", err)
		}
	}
}

func (v *views) say(trouble string) { v.trouble.Store(&trouble) }

// ready reports whether every view has caught up with what was there at the start, and why not.
func (v *views) ready() (bool, string) {
	if t := v.trouble.Load(); t != nil && *t != "" {
		return false, *t
	}
	if n := v.catching.Load(); n > 0 {
		return false, fmt.Sprintf("views are being rebuilt, %d partitions to go", n)
	}
	return true, ""
}

func (v *views) applyDead(r kafka.Record) error {
	d := &inboxv1.DeadLetter{}
	if err := proto.Unmarshal(r.Value, d); err != nil {
		return fmt.Errorf("decoding a dead letter: %w", err)
	}
	if d.GetId() == "" {
		d.Id = fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dead = append(v.dead, d)
	if len(v.dead) > maxDeadLetters {
		v.dead = append(v.dead[:0:0], v.dead[len(v.dead)-maxDeadLetters:]...)
	}
	return nil
}

func (v *views) applyStatus(r kafka.Record) error {
	s := &inboxv1.StatusReport{}
	if err := proto.Unmarshal(r.Value, s); err != nil {
		return fmt.Errorf("decoding a status report: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reports[s.GetInstance()] = s
	return nil
}

// statusReports returns the newest report of every instance, sorted.
func (v *views) statusReports() []*inboxv1.StatusReport {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make([]*inboxv1.StatusReport, 0, len(v.reports))
	for _, r := range v.reports {
		out = append(out, r)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].GetInstance() < out[j].GetInstance() })
	return out
}

func endOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
