package lane

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// delivery is what the partitions of one sink share: the sink, its concurrency, its breaker and what people see.
type delivery struct {
	sink    pipeline.Sink
	o       Options
	slots   chan struct{}
	breaker *breaker

	mu     sync.Mutex
	waits  map[waitID]*held
	status pipeline.Status
}

// waitID names what waits for a person; an effect id alone may be known in two topics.
type waitID struct {
	topic     string
	partition int32
	effect    string
}

// held is an effect that waits for a person.
type held struct {
	key     string
	reason  string
	since   time.Time
	waiting func() int // events behind it
}

func newDelivery(s pipeline.Sink, o Options) *delivery {
	d := &delivery{sink: s, o: o, slots: make(chan struct{}, o.MaxLanes), waits: map[waitID]*held{}}
	d.breaker = newBreaker(o.RetryMin, o.RetryMax, d.report)
	return d
}

// slot waits for one of the sink's request slots and returns what gives it back.
func (d *delivery) slot(ctx context.Context) (func(), error) {
	select {
	case d.slots <- struct{}{}:
		return func() { <-d.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *delivery) setHeld(id waitID, h *held) {
	d.mu.Lock()
	d.waits[id] = h
	d.mu.Unlock()
	d.report()
}

func (d *delivery) clearHeld(id waitID) {
	d.mu.Lock()
	_, was := d.waits[id]
	delete(d.waits, id)
	d.mu.Unlock()
	if was {
		d.report()
	}
}

// held lists what waits for a person, the longest wait first.
func (d *delivery) held() []*inboxv1.HeldEffect {
	d.mu.Lock()
	hs := make(map[waitID]held, len(d.waits))
	for id, h := range d.waits {
		hs[id] = *h
	}
	d.mu.Unlock()
	out := make([]*inboxv1.HeldEffect, 0, len(hs))
	for id, h := range hs {
		out = append(out, &inboxv1.HeldEffect{
			Key: h.key, EffectId: id.effect, Reason: h.reason, Since: timestamppb.New(h.since), Waiting: uint64(h.waiting()),
		})
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if !a.GetSince().AsTime().Equal(b.GetSince().AsTime()) {
			return a.GetSince().AsTime().Before(b.GetSince().AsTime())
		}
		return a.GetEffectId() < b.GetEffectId()
	})
	return out
}

// report tells the status when it has changed.
func (d *delivery) report() {
	why := d.breaker.why()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := pipeline.Status{State: pipeline.Running}
	switch n := len(d.waits); {
	case why != nil:
		s = pipeline.Status{State: pipeline.Down, Reason: fmt.Sprintf("the sink refuses or cannot be reached, trying one event at a time; nothing is lost: %v", why)}
	case n > 0:
		s = pipeline.Status{State: pipeline.Degraded, Reason: fmt.Sprintf("%d deliveries wait for a person; look at the held effects", n)}
	}
	if s.State == d.status.State && s.Reason == d.status.Reason {
		return
	}
	d.status = s
	d.o.Report(s)
}

// jitter spreads waits, so that lanes do not come back all at once.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// sleep waits and reports ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
