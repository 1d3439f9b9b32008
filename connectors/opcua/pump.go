package opcua

import (
	"context"
	"fmt"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/wire"
	"github.com/plantloom/plantloom/pipeline"
)

const (
	beat = time.Second // a batch leaves at least this often (R10)
	// maxUnacknowledged bounds the messages that the server must keep for us: servers keep few, and what they have
	// thrown away is not there after a crash of ours.
	maxUnacknowledged = 16
	// While a gap is filled live messages wait; a crash then reads the gap anew anyway.
	maxHeld        = 4096
	maxSamples     = 200_000
	maxOutstanding = 10
	// emitGrace is how long what has arrived may still be handed over when the link is lost.
	emitGrace = 2 * time.Second
)

// pump carries one subscription's messages to the outlet. All of its state belongs to the goroutine of run; Emit and
// the reading of history have goroutines of their own, so that neither stops the other nor the server.
type pump struct {
	s   *Source
	l   *link
	out pipeline.Outlet

	// Requests and replies.
	limit       int                               // of outstanding requests
	acks        []*ua.SubscriptionAcknowledgement // durable, to be sent
	cleaned     bool                              // what was durable before is acknowledged
	heard       time.Time                         // newest publish time of the server
	skew        time.Duration
	delivered   bool
	silence     *time.Timer
	retry       *time.Timer
	retryDelay  time.Duration
	lastEmitted time.Time
	lastAsked   time.Time

	// The order of messages.
	wraps, want uint32 // the next sequence number
	any         bool   // the next number is not known yet
	fresh       bool
	lost        bool // a message before the next one is lost
	held        []arrived
	heldSamples int
	gap         *gap
	echo        map[int]*echo

	// Batches, oldest first; the last one grows.
	batches    []*growing
	emitting   *growing
	waiting    struct{ samples, messages int } // in batches and emitting
	spare      []pipeline.Sample
	emits      chan pipeline.Batch
	emitFailed error // final for this Run
	emitted    chan error
	stamps     []stamp // per tag
}

// arrived is a message in its order.
type arrived struct {
	m       wire.Message
	wraps   uint32
	more    bool
	lost    bool // messages before it are lost
	checked bool // gaps before it were looked for
}

func newPump(s *Source, l *link, out pipeline.Outlet, fresh bool) *pump {
	p := &pump{
		s: s, l: l, out: out, fresh: fresh,
		limit: min(maxOutstanding, 2+int(l.roundTrip/s.rec.Publishing)),
		emits: make(chan pipeline.Batch), emitted: make(chan error, 1),
		stamps: make([]stamp, len(s.host.Tags)), echo: map[int]*echo{},
		retryDelay: s.cfg.BadTagRetry, cleaned: fresh,
	}
	p.wraps, p.want = next(s.rec.Wraps, s.rec.Sequence)
	p.any = s.rec.Sequence == 0
	for i, t := range s.rec.Last {
		p.stamps[i] = stamp{at: t, initial: p.any}
	}
	p.newest().cursor = true // the subscription's id must outlive a crash from here on
	p.announce()
	return p
}

// serve subscribes and carries messages until something breaks. delivered tells that samples became durable.
func (s *Source) serve(ctx context.Context, l *link, out pipeline.Outlet) (delivered bool, err error) {
	fresh, err := s.subscribe(ctx, l)
	if err != nil {
		return false, err
	}
	s.report(l)
	p := newPump(s, l, out, fresh)
	err = p.run(ctx)
	if subscriptionLost(err) {
		s.rec.Subscription = 0
	}
	return p.delivered, err
}

func (p *pump) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.emitter(ctx)
	}()
	defer func() {
		cancel()
		<-done
		p.gap.wait()
	}()
	p.silence, p.retry = time.NewTimer(p.watchdog()), time.NewTimer(p.retryDelay)
	defer p.silence.Stop()
	defer p.retry.Stop()
	tick := time.NewTicker(beat / 4)
	defer tick.Stop()
	if err := p.resume(ctx); err != nil {
		return err
	}
	err := p.loop(ctx, tick.C)
	if p.emitFailed == nil {
		p.finish(ctx, err)
	}
	return err
}

func (p *pump) loop(ctx context.Context, tick <-chan time.Time) error {
	for {
		if err := p.work(ctx); err != nil {
			return err
		}
		var err error
		chunks, filled := p.gap.channels(p.waiting.samples < maxSamples/4)
		select {
		case <-ctx.Done():
			return nil
		case <-p.l.ch.Done():
			return fmt.Errorf("connection to %s lost: %w", p.s.cfg.Endpoint, p.l.ch.Err())
		case r := <-p.l.replies:
			err = p.reply(ctx, r)
		case failed := <-p.emitted:
			err = p.durable(failed)
		case c := <-chunks:
			p.historical(c)
		case r := <-filled:
			err = p.filled(r)
		case <-tick:
		case <-p.silence.C:
			err = p.silent()
		case <-p.retry.C:
			err = p.retryRefused(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// work starts whatever can be started.
func (p *pump) work(ctx context.Context) error {
	p.drain()
	p.startFill(ctx)
	if err := p.startEmit(ctx); err != nil {
		return err
	}
	return p.ask(ctx)
}

// resume fetches what the server still keeps for us, and opens the gap that a lost subscription or a crash left.
func (p *pump) resume(ctx context.Context) error {
	if p.s.rec.Filling {
		p.gap = p.everything(p.fresh)
	}
	if p.fresh {
		return nil
	}
	for {
		m, err := p.republish(ctx, p.want)
		switch {
		case err == nil:
			p.any = false
			p.accept(m, false)
		case lostMessage(err):
			return nil
		default:
			return err
		}
	}
}

// retryRefused tries the tags again that the server refused.
func (p *pump) retryRefused(ctx context.Context) error {
	if p.gap != nil || p.emitting != nil { // rec may only change while nothing is staged on it
		p.retry.Reset(beat / 4)
		return nil
	}
	defer func() { p.retry.Reset(p.retryDelay) }()
	if len(p.s.rec.Bad) == 0 {
		return nil
	}
	was := p.s.rec.Bad
	still, err := p.s.createItems(ctx, p.l, was)
	if err != nil {
		return err
	}
	p.retryDelay = min(2*p.retryDelay, time.Hour)
	if len(still) == len(was) {
		return nil
	}
	p.s.rec.Bad, p.newest().cursor = still, true
	p.recovered(was)
	p.s.report(p.l)
	return nil
}
