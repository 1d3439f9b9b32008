package engine

import (
	"math"
	"slices"
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

type source struct {
	watermark int64
	state     inboxv1.SourceState
}

// lane is what positions count in.
type lane struct {
	source, session string
	fill            bool
}

type marker struct{ position, used uint64 }

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

// bounds says whether a source's time bounds the asset's.
func (a *asset) bounds(id string) bool {
	set := a.sourceSet()
	if len(set) == 0 {
		return a.sources[id] != nil
	}
	_, found := slices.BinarySearch(set, id)
	return found
}

func (a *asset) sourceSet() []string {
	if a.set != nil {
		return a.set
	}
	return a.configured
}

// promise notes a source's watermark; it never goes back.
func (a *asset) promise(id string, state inboxv1.SourceState, watermark int64) {
	s := a.sources[id]
	if s == nil {
		s = &source{watermark: noTime}
		a.sources[id] = s
	}
	if watermark != 0 {
		s.watermark = max(s.watermark, watermark)
	}
	s.state = state
	a.mark()
}

// watermark is the least of the sources' watermarks less the lateness; sources that say they are idle do not count.
// R10
func (a *asset) watermark() int64 {
	set := a.sourceSet()
	if len(set) == 0 {
		set = sorted(a.sources)
	}
	w := int64(math.MaxInt64)
	for _, id := range set {
		s := a.sources[id]
		if s != nil && s.state == inboxv1.SourceState_SOURCE_STATE_IDLE {
			continue
		}
		if s == nil || s.watermark == noTime {
			return a.w
		}
		w = min(w, s.watermark)
	}
	if w == math.MaxInt64 {
		return a.w
	}
	return max(a.w, w-a.e.config.Lateness.Nanoseconds())
}

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
	if !a.e.config.UnsafeNoRepeatFilter && a.repeated(tb, s, at) {
		out.Repeats++
		return
	}
	if at < a.w { // R12: behind what is released; counters go on from what they know
		out.Late = append(out.Late, *s)
		return
	}
	p := pending{at: at, source: tb.GetSourceId(), position: s.Position, tag: s.Tag, ordinal: s.Ordinal, value: s.Value, status: q}
	var last *machine
	for _, u := range uses {
		if u.m != last { // uses of one machine stand together
			u.m.keep(p, s.Op)
		}
		last = u.m
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

// repeated says whether a sample came before, and remembers it: by its position within a session and lane, and by what
// it is across sessions. R7
func (a *asset) repeated(tb *inboxv1.TagBatch, s *pipeline.Sample, at int64) bool {
	if s.Position != 0 {
		l := lane{tb.GetSourceId(), tb.GetSession(), s.Flags&pipeline.FlagHistorical != 0}
		m := a.lanes[l]
		if m == nil {
			m = &marker{}
			a.lanes[l] = m
			a.forgetSession()
		}
		m.used = a.clock
		if s.Position <= m.position {
			return true
		}
		m.position = s.Position
	}
	return a.seen.add(s, at)
}

// forgetSession drops the mark that is unused for longest.
func (a *asset) forgetSession() {
	if len(a.lanes) <= maxSessions {
		return
	}
	var oldest lane
	first := true
	for l, m := range a.lanes {
		if o := a.lanes[oldest]; m.position != 0 && (first || m.used < o.used || (m.used == o.used && l.less(oldest))) {
			oldest, first = l, false
		}
	}
	delete(a.lanes, oldest)
}

func (l lane) less(o lane) bool {
	if l.source != o.source {
		return l.source < o.source
	}
	if l.session != o.session {
		return l.session < o.session
	}
	return !l.fill && o.fill
}

// advance moves the asset's time and lets its machines do what is due, in the order of event time.
func (a *asset) advance(in *Cause, out *Effects) {
	w := a.watermark()
	if w == noTime || w == a.w {
		return
	}
	a.w = w
	a.mark()
	for {
		var next *machine
		at := int64(math.MaxInt64)
		for _, m := range a.machines {
			if t, ok := m.next(w - m.p.lag); ok && t < at {
				next, at = m, t
			}
		}
		if next == nil {
			break
		}
		next.step(in, at, w-next.p.lag, out)
	}
	a.seen.expire(w - a.e.config.RepeatHorizon.Nanoseconds())
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
