package engine

import (
	"math"
	"slices"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
)

type source struct {
	watermark int64
	state     inboxv1.SourceState
}

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
