package engine

import (
	"math"
	"sort"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
)

const (
	// maxSessions is how many sessions of an asset's sources have their high-water mark kept (R7).
	maxSessions = 32
	// maxSkew is how far a sample's time may be ahead of its arrival; beyond it the source's clock is wrong.
	maxSkew = int64(60e9)
	noTime  = math.MinInt64
)

// asset is the log of one asset: its time, its repeat filter, its operations, and the machines that read it.
type asset struct {
	e        *Engine
	path     string
	machines []*machine
	tags     map[string][]tagUse
	cell     *cell

	configured []string // sources of the machines
	set        []string // sources by the log; nil: as configured
	sources    map[string]*source
	w          int64            // released up to here, noTime at first
	lanes      map[lane]*marker // high-water marks
	clock      uint64           // counts records, for what is kept longest unused
	seen       *seenSet
	ops        map[opKey]*operation
	keys       map[seqKey]*sequence
}

// tagUse is a machine's input or context that a tag feeds. Contexts follow the inputs.
type tagUse struct {
	m     *machine
	index int
}

func newAsset(e *Engine, path string) *asset {
	a := &asset{
		e: e, path: path, tags: map[string][]tagUse{}, sources: map[string]*source{}, w: noTime,
		lanes: map[lane]*marker{}, ops: map[opKey]*operation{}, keys: map[seqKey]*sequence{},
	}
	a.seen = &seenSet{a: a, buckets: map[int64]*bucket{}}
	a.cell = e.store.fixed(key("a", path), 0, a.encode, a.decode)
	return a
}

func (a *asset) mark() { a.e.store.mark(a.cell) }

// batch takes a record of samples.
func (a *asset) batch(in *Cause, tb *inboxv1.TagBatch, out *Effects) {
	a.clock++
	a.e.samples = inbox.Decode(tb, a.e.samples[:0])
	for i := range a.e.samples {
		s := &a.e.samples[i]
		if uses := a.tags[s.Tag]; len(uses) > 0 {
			out.Samples++
			a.sample(in, tb, s, uses, out)
		}
	}
	a.promise(tb.GetSourceId(), tb.GetState(), tb.GetWatermarkNs())
	a.advance(in, out)
}

func (a *asset) sample(in *Cause, tb *inboxv1.TagBatch, s *pipeline.Sample, uses []tagUse, out *Effects) {
	at, q := sourceTime(in, s)
	p := pending{at: at, source: tb.GetSourceId(), position: s.Position, tag: s.Tag, ordinal: s.Ordinal, value: s.Value, status: q}
	repeated := !a.e.config.UnsafeNoRepeatFilter && a.repeated(tb, s, at)
	late := at < a.w
	taken := false
	var last *machine
	for _, u := range uses {
		if u.m == last { // uses of one machine stand together
			continue
		}
		last = u.m
		switch {
		case !repeated && !late:
			u.m.keep(p, s.Op)
		case s.Flags&pipeline.FlagInitial != 0 && u.m.lacks(s.Tag):
			// The present value of a tag that this machine does not know yet, because it is new: what held before the
			// watermark holds at it.
			now := p
			now.at = max(at, a.w)
			u.m.keep(now, pipeline.OpAdd)
		default:
			continue
		}
		taken = true
	}
	switch {
	case taken:
	case repeated:
		out.Repeats++
	default: // R12: behind what is released; counters go on from what they know
		out.Late = append(out.Late, *s)
	}
}

// sourceTime is the event time of a sample. Without a source time the next best clock counts; a time far ahead of the
// arrival is a wrong clock: the arrival counts, and the value is uncertain.
func sourceTime(in *Cause, s *pipeline.Sample) (int64, pipeline.Quality) {
	if s.At.IsZero() {
		for _, t := range []int64{nanos(s.ServerAt), nanos(s.Seen)} {
			if t != 0 {
				return t, s.Quality.Worse(pipeline.Uncertain)
			}
		}
		return nanos(in.At), s.Quality.Worse(pipeline.Uncertain)
	}
	at := s.At.UnixNano()
	if seen := nanos(s.Seen); seen != 0 && at > seen+maxSkew {
		return seen, s.Quality.Worse(pipeline.Uncertain)
	}
	return at, s.Quality
}

func (a *asset) encode(e *encoder) {
	e.int(a.w)
	e.uint(a.clock)
	e.bool(a.set != nil)
	e.texts(a.set)
	e.uint(uint64(len(a.sources)))
	for _, id := range sorted(a.sources) {
		s := a.sources[id]
		e.text(id)
		e.int(s.watermark)
		e.uint(uint64(s.state))
	}
	lanes := make([]lane, 0, len(a.lanes))
	for l := range a.lanes {
		lanes = append(lanes, l)
	}
	sort.Slice(lanes, func(i, j int) bool { return lanes[i].less(lanes[j]) })
	e.uint(uint64(len(lanes)))
	for _, l := range lanes {
		m := a.lanes[l]
		e.text(l.source)
		e.text(l.session)
		e.bool(l.fill)
		e.uint(m.position)
		e.uint(m.used)
	}
}

func (a *asset) decode(d *decoder) {
	a.w, a.clock = d.int(), d.uint()
	given := d.bool()
	if a.set = d.texts(); given && a.set == nil {
		a.set = []string{}
	}
	for range d.count() {
		id := d.text()
		a.sources[id] = &source{watermark: d.int(), state: inboxv1.SourceState(d.uint())}
	}
	for range d.count() {
		l := lane{d.text(), d.text(), d.bool()}
		a.lanes[l] = &marker{d.uint(), d.uint()}
	}
}
