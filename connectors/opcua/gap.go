package opcua

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/plantloom/plantloom/connectors/opcua/wire"
	"github.com/plantloom/plantloom/pipeline"
)

// gap is a time of which live values are missing. While it is open live messages wait, so that the samples of history
// are handed over before what came after them (R11). A nil gap has no effect.
type gap struct {
	all      bool         // of every tag, from its newest sample to its next live one
	spans    []span       // further intervals, each of one tag
	awaiting map[int]bool // tags whose first live value will tell where the gap ends
	until    <-chan time.Time
	late     bool // awaiting took too long

	running bool
	chunks  chan []pipeline.Sample
	result  chan fillResult
	wg      sync.WaitGroup
}

// span is the missing time of one tag: after from, and before to, or up to it when inclusive.
type span struct {
	tag       int
	from, to  time.Time
	inclusive bool // nothing live is known of the tag yet: values up to to may still arrive live as well
}

// fillResult is the end of a fill.
type fillResult struct {
	lost []span // intervals of which the server has no history
	err  error
}

// echo remembers historical samples that may arrive live as well.
type echo struct {
	until time.Time
	seen  map[echoKey]bool
}

type echoKey struct {
	at      int64
	quality pipeline.Quality
	value   pipeline.Value
}

func keyOf(smp *pipeline.Sample) echoKey { return echoKey{smp.At.UnixNano(), smp.Quality, smp.Value} }

// firstValueWithin bounds how long a new subscription may take to send the first value of every tag.
func firstValueWithin(publishing time.Duration) time.Duration {
	return max(2*time.Second, 3*publishing)
}

// everything is the gap of all tags. With await it ends at each tag's first live value.
func (p *pump) everything(await bool) *gap {
	g := &gap{all: true}
	if await {
		g.awaiting = map[int]bool{}
		for tag := range p.stamps {
			g.awaiting[tag] = true
		}
		for _, tag := range p.s.rec.Bad {
			delete(g.awaiting, tag)
		}
		g.until = time.After(firstValueWithin(p.s.rec.Publishing))
	}
	return g
}

// recovered opens the gap of tags that the server took after it had refused them.
func (p *pump) recovered(was []int) {
	g := &gap{awaiting: map[int]bool{}, until: time.After(firstValueWithin(p.s.rec.Publishing))}
	for _, tag := range was {
		if slices.Contains(p.s.rec.Bad, tag) {
			continue
		}
		p.stamps[tag].initial = true
		if !p.stamps[tag].at.IsZero() {
			g.awaiting[tag] = true
			g.spans = append(g.spans, span{tag: tag, from: p.stamps[tag].at})
		}
	}
	if len(g.spans) > 0 {
		p.gap = g
	}
}

// gapBefore returns the gap in front of a message, nil when there is none: messages before it are lost, or values of
// it carry the overflow bit.
func (p *pump) gapBefore(a *arrived) *gap {
	var spans []span
	last := map[int]time.Time{}
	for i := range a.m.Changes {
		c := &a.m.Changes[i]
		tag := int(c.Handle)
		if int64(c.Handle) >= int64(len(p.stamps)) {
			continue
		}
		at := timeOr(c.Source, c.Server, a.m.Published)
		if c.Status.Overflow() {
			from, ok := last[tag]
			if !ok {
				from = p.stamps[tag].at
			}
			if !from.IsZero() && at.After(from) {
				spans = append(spans, span{tag: tag, from: from, to: at})
			}
		}
		last[tag] = at
	}
	if !a.lost && len(spans) == 0 {
		return nil
	}
	return &gap{all: a.lost, spans: spans}
}

// bounded notes the tags whose first live value is there.
func (g *gap) bounded(changes []wire.Change) {
	if g == nil || len(g.awaiting) == 0 {
		return
	}
	for i := range changes {
		delete(g.awaiting, int(changes[i].Handle))
	}
}

// channels are what the pump listens on; chunks only while it has room.
func (g *gap) channels(room bool) (<-chan []pipeline.Sample, <-chan fillResult) {
	if g == nil || !g.running {
		return nil, nil
	}
	if !room {
		return nil, g.result
	}
	return g.chunks, g.result
}

func (g *gap) wait() {
	if g != nil {
		g.wg.Wait()
	}
}

// ready reports that the gap's ends are known.
func (g *gap) ready() bool {
	if g == nil || g.running {
		return false
	}
	select {
	case <-g.until:
		g.late = true
	default:
	}
	return len(g.awaiting) == 0 || g.late
}

// startFill begins to read history once the gap's ends are known. The server's clock must have been heard.
func (p *pump) startFill(ctx context.Context) {
	if !p.gap.ready() || p.heard.IsZero() {
		return
	}
	g := p.gap
	spans := p.ends(g)
	p.s.host.Count("gaps", 1)
	g.running, g.chunks, g.result = true, make(chan []pipeline.Sample), make(chan fillResult, 1)
	f := &filler{s: p.s, l: p.l, chunks: g.chunks, spans: spans}
	g.wg.Go(func() { g.result <- f.run(ctx) })
}

// ends turns the gap into intervals. A tag's ends at its first live value that waits, else at what the server's clock
// said last.
func (p *pump) ends(g *gap) []span {
	first := map[int]time.Time{}
	for i := range p.held {
		for j := range p.held[i].m.Changes {
			c := &p.held[i].m.Changes[j]
			if _, ok := first[int(c.Handle)]; !ok {
				first[int(c.Handle)] = timeOr(c.Source, c.Server, p.held[i].m.Published)
			}
		}
	}
	var out []span
	add := func(sp span) {
		if sp.to.IsZero() {
			if at, ok := first[sp.tag]; ok {
				sp.to = at
			} else {
				sp.to, sp.inclusive = p.heard, true
			}
		}
		if !sp.from.IsZero() && sp.to.After(sp.from) {
			out = append(out, sp)
		}
	}
	for _, sp := range g.spans {
		add(sp)
	}
	if g.all {
		for tag, st := range p.stamps {
			if !slices.Contains(p.s.rec.Bad, tag) {
				add(span{tag: tag, from: st.at})
			}
		}
	}
	for _, sp := range out {
		if sp.inclusive {
			p.echo[sp.tag] = &echo{until: sp.to, seen: map[echoKey]bool{}}
		}
	}
	return out
}

// historical takes samples of history into the growing batch.
func (p *pump) historical(samples []pipeline.Sample) {
	for i := range samples {
		tag := p.s.index[samples[i].Tag]
		if e := p.echo[tag]; e != nil {
			e.seen[keyOf(&samples[i])] = true
		}
		p.add(tag, samples[i])
	}
	p.s.host.Count("samples_backfilled", float64(len(samples)))
}

// filled closes the gap. Where nothing could be read one sample per tag says that data is lost.
func (p *pump) filled(r fillResult) error {
	if r.err != nil {
		return r.err
	}
	for _, sp := range r.lost {
		p.put(p.s.lostSample(sp))
	}
	if len(r.lost) > 0 {
		p.s.host.Log.Warn("values are lost, the server has no history of them", "connector", p.s.host.ID, "tags", len(r.lost),
			"from", r.lost[0].from, "to", r.lost[0].to)
	}
	p.gap, p.newest().filled = nil, true
	return nil
}

// lostSample marks an interval of which nothing is known. Its time follows from the data alone, so that a repeat after
// a crash is the same sample.
func (s *Source) lostSample(sp span) pipeline.Sample {
	s.host.Count("data_lost", 1)
	return pipeline.Sample{
		Tag: s.host.Tags[sp.tag].ID, Quality: pipeline.BadDataLost, At: sp.from.Add(resolution),
		Seen: s.host.Now().UTC(), Flags: pipeline.FlagHistorical,
	}
}

// resolution is that of OPC UA's clock.
const resolution = 100 * time.Nanosecond

func lostMark(smp *pipeline.Sample) bool {
	return smp.Quality == pipeline.BadDataLost && smp.Flags&pipeline.FlagHistorical != 0 && smp.Value.IsNull()
}

// echoed reports that a live sample was read from history before.
func (p *pump) echoed(tag int, smp pipeline.Sample) bool {
	e := p.echo[tag]
	if e == nil {
		return false
	}
	if smp.At.After(e.until) {
		delete(p.echo, tag)
		return false
	}
	return e.seen[keyOf(&smp)]
}
