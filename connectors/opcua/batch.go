package opcua

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/wire"
	"github.com/plantloom/plantloom/pipeline"
)

// growing is a batch that takes samples while the one before it is being made durable. Samples with and without a
// position never share a batch: a record counts positions from its first sample.
type growing struct {
	positions bool
	samples   []pipeline.Sample
	messages  []uint32 // sequence numbers that it completes
	wraps     uint32   // of the last of them
	watermark time.Time
	filled    bool // the gap is closed with it
	cursor    bool // it must be saved even without samples
	staged    *record
	saved     []byte
}

// promise raises the watermark.
func (g *growing) promise(t time.Time) {
	if t.After(g.watermark) {
		g.watermark = t
	}
}

// stamp is what is remembered of a tag's newest sample.
type stamp struct {
	at      time.Time
	ordinal uint32
	initial bool // the next value is the state, not a change
	known   bool // value and quality are those of the newest sample
	value   pipeline.Value
	quality pipeline.Quality
}

// repeats reports a sample that says nothing new: some servers send every value again when a session moves.
func (st *stamp) repeats(smp *pipeline.Sample) bool {
	return st.known && smp.At.Equal(st.at) && smp.Value == st.value && smp.Quality == st.quality
}

// hand turns a message into samples of the growing batch.
func (p *pump) hand(a *arrived) {
	seen := p.s.host.Now()
	for i, c := range a.m.Changes {
		if int64(c.Handle) >= int64(len(p.stamps)) {
			p.s.host.Count("unknown_handles", 1)
			continue
		}
		tag := int(c.Handle)
		smp := p.sample(tag, c.DataValue, a.m.Published, seen)
		if smp.Quality.Overflow() {
			smp.Flags |= pipeline.FlagOverflow
			p.s.host.Count("overflows", 1)
		}
		if p.stamps[tag].initial {
			p.stamps[tag].initial = false
			smp.Flags |= pipeline.FlagInitial
		}
		if p.echoed(tag, smp) || p.stamps[tag].repeats(&smp) {
			p.s.host.Count("samples_repeated", 1)
			continue
		}
		smp.Position = position(a.wraps, a.m.Sequence, i) // R7
		p.add(tag, smp)
	}
	g := p.newest()
	if a.m.Sequence != 0 {
		g.messages, g.wraps = append(g.messages, a.m.Sequence), a.wraps
		p.waiting.messages++
	}
	if !a.more {
		g.promise(a.m.Published)
	}
}

// sample makes a sample without position. Its time is the source's, else the server's, else that of the message.
func (p *pump) sample(tag int, v wire.DataValue, published, seen time.Time) pipeline.Sample {
	smp := pipeline.Sample{
		Tag: p.s.host.Tags[tag].ID, Value: v.Value, Quality: v.Status,
		At: timeOr(v.Source, v.Server, published, seen), ServerAt: v.Server, Seen: seen.UTC(),
	}
	if v.Clamped {
		smp.Flags |= pipeline.FlagClamped
	}
	return smp
}

// add appends a sample of a tag and counts samples with the same time.
func (p *pump) add(tag int, smp pipeline.Sample) {
	st := &p.stamps[tag]
	if smp.At.Equal(st.at) {
		st.ordinal++
	} else {
		st.ordinal = 0
	}
	smp.Ordinal = st.ordinal
	if smp.Flags&pipeline.FlagClamped == 0 { // a clamped time says nothing about where a gap begins
		st.at, st.value, st.quality, st.known = smp.At, smp.Value, smp.Quality, true
	}
	p.put(smp)
}

// put appends a sample to the newest batch of its sort.
func (p *pump) put(smp pipeline.Sample) {
	g := p.newest()
	if len(g.samples) > 0 && g.positions != (smp.Position != 0) {
		g = &growing{samples: p.spare[:0]}
		p.batches, p.spare = append(p.batches, g), nil
	}
	g.positions = smp.Position != 0
	g.samples = append(g.samples, smp)
	p.waiting.samples++
}

// newest is the batch that grows.
func (p *pump) newest() *growing {
	if len(p.batches) == 0 {
		p.batches, p.spare = append(p.batches, &growing{samples: p.spare[:0]}), nil
	}
	return p.batches[len(p.batches)-1]
}

// announce adds a Bad sample for every tag that the server newly refused.
func (p *pump) announce() {
	for _, tag := range p.s.rec.Bad {
		r, ok := p.s.refused[tag]
		if !ok || r.announced {
			continue
		}
		r.announced = true
		p.s.refused[tag] = r
		p.s.host.Count("tags_refused", 1)
		p.s.host.Log.Warn("tag does not work, the others go on", "connector", p.s.host.ID, "tag", p.s.host.Tags[tag].ID,
			"address", p.s.host.Tags[tag].Address, "err", r.why)
		now := p.s.host.Now().UTC()
		p.put(pipeline.Sample{Tag: p.s.host.Tags[tag].ID, Quality: r.code, At: timeOr(p.l.clock(), now), Seen: now})
	}
}

// emitter makes batches durable, one at a time.
func (p *pump) emitter(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-p.emits:
			p.emitted <- p.out.Emit(ctx, b) // room for one, and one is under way
		}
	}
}

// startEmit hands the oldest batch over when none is under way and it holds anything, or when a beat is due.
func (p *pump) startEmit(ctx context.Context) error {
	now := p.s.host.Now()
	p.newest() // there is always one
	g := p.batches[0]
	due := now.Sub(p.lastEmitted) >= beat
	if p.emitting != nil || len(p.batches) == 1 && g.empty() && !due {
		return nil
	}
	b, err := p.stage(g)
	if err != nil {
		return err
	}
	p.batches = p.batches[1:]
	p.lastEmitted, p.emitting = now, g
	select {
	case p.emits <- b:
	case <-ctx.Done():
	}
	return nil
}

func (g *growing) empty() bool {
	return len(g.samples) == 0 && len(g.messages) == 0 && !g.cursor && !g.filled
}

// stage computes what the record will be once the batch is durable, and the batch with it as the cursor.
func (p *pump) stage(g *growing) (pipeline.Batch, error) {
	rec := *p.s.rec
	if n := len(g.messages); n > 0 {
		rec.Sequence, rec.Wraps = g.messages[n-1], g.wraps
	}
	if len(g.samples) > 0 {
		rec.Last = slices.Clone(rec.Last)
		for i := range g.samples {
			smp := &g.samples[i]
			tag := p.s.index[smp.Tag]
			if smp.Flags&pipeline.FlagClamped == 0 && !lostMark(smp) && !announcement(smp) {
				rec.Last[tag] = smp.At // the newest one, even when the device's clock was set back
			}
		}
	}
	if g.filled {
		rec.Filling = false
	}
	state := pipeline.StateLive
	if p.gap != nil || rec.Filling { // R11: the watermark stands until history is read
		state = pipeline.StateFilling
	} else if g.watermark.After(rec.Watermark) {
		rec.Watermark = g.watermark
	}
	b := pipeline.Batch{
		Session: rec.session(), Samples: g.samples, Watermark: rec.Watermark, ClockSkew: p.skew, State: state,
	}
	g.staged = &rec
	if !g.empty() {
		cursor, err := rec.encode(p.s.hash)
		if err != nil {
			return pipeline.Batch{}, err
		}
		b.Cursor, g.saved = cursor, cursor
	}
	return b, nil
}

// announcement reports a sample that says that a tag is refused: it is no reading, and history does not begin at it.
func announcement(smp *pipeline.Sample) bool {
	return smp.Position == 0 && smp.Flags&pipeline.FlagHistorical == 0
}

// durable takes the result of Emit: only now may the server forget the messages.
func (p *pump) durable(err error) error {
	g := p.emitting
	p.emitting = nil
	if err != nil {
		p.emitFailed = err
		return fmt.Errorf("handing samples over: %w", err)
	}
	p.s.rec = g.staged
	if g.saved != nil {
		p.s.saved = g.saved
	}
	for _, n := range g.messages {
		p.acks = append(p.acks, &ua.SubscriptionAcknowledgement{SubscriptionID: p.s.rec.Subscription, SequenceNumber: n})
	}
	p.delivered = p.delivered || len(g.messages) > 0
	p.waiting.messages -= len(g.messages)
	p.waiting.samples -= len(g.samples)
	p.s.host.Count("messages", float64(len(g.messages)))
	p.spare = g.samples[:0]
	return nil
}

// finish hands over what has arrived when the link or the subscription is lost: some of it might not be had again.
func (p *pump) finish(ctx context.Context, cause error) {
	if cause == nil || ctx.Err() != nil {
		return
	}
	grace, cancel := context.WithTimeout(ctx, emitGrace)
	defer cancel()
	for p.emitting != nil || len(p.batches) > 1 || !p.newest().empty() {
		if err := p.startEmit(grace); err != nil {
			return
		}
		select {
		case err := <-p.emitted:
			if p.durable(err) != nil {
				return // cause is what the caller reports
			}
		case <-grace.Done():
			return
		}
	}
}
