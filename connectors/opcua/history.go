package opcua

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/pipeline"
)

const (
	pageSize = 1000 // values of one node in one answer
	// Time is read in slices, so that all tags can be merged in the order of time with little memory.
	firstSlice, minSlice = time.Minute, time.Second
	fewSamples           = 2_000
	manySamples          = 100_000
)

// errTooMany asks for a shorter slice.
var errTooMany = errors.New("too many samples in one slice")

// filler reads the missing intervals from the server's history, in the order of time over all tags.
type filler struct {
	s      *Source
	l      *link
	spans  []span
	chunks chan<- []pipeline.Sample
	none   map[int]bool // tags without history
	whole  bool         // the slice cannot be shorter: read it whatever it holds
}

// run reads everything and hands it over in chunks. An error is about the connection.
func (f *filler) run(ctx context.Context) fillResult {
	f.none = map[int]bool{}
	if f.s.cfg.Backfill == BackfillOff {
		return f.conclude(ctx, f.spans)
	}
	from, to, cut := f.window()
	if len(cut) > 0 && !f.give(ctx, cut) {
		return fillResult{err: ctx.Err()}
	}
	if err := f.read(ctx, from, to); err != nil {
		return fillResult{err: err}
	}
	return f.conclude(ctx, slices.DeleteFunc(slices.Clone(f.spans), func(sp span) bool { return !f.none[sp.tag] }))
}

// window shortens the intervals to what may be read and returns their hull. cut are the marks of what is left out.
func (f *filler) window() (from, to time.Time, cut []pipeline.Sample) {
	for i := range f.spans {
		sp := &f.spans[i]
		if oldest := sp.to.Add(-f.s.cfg.MaxWindow); sp.from.Before(oldest) {
			cut = append(cut, f.s.lostSample(*sp))
			sp.from = oldest
		}
		if from.IsZero() || sp.from.Before(from) {
			from = sp.from
		}
		to = later(to, sp.to)
	}
	slices.SortStableFunc(cut, byTime)
	return from, to, cut
}

// give hands a chunk over; false when nobody takes it any more.
func (f *filler) give(ctx context.Context, samples []pipeline.Sample) bool {
	select {
	case f.chunks <- samples:
		return true
	case <-ctx.Done():
		return false
	}
}

func byTime(a, b pipeline.Sample) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) }

// read goes through the time slice by slice; slices grow while they are nearly empty.
func (f *filler) read(ctx context.Context, from, to time.Time) error {
	size := firstSlice
	for at := from; !at.After(to) && len(f.spans) > len(f.none); {
		end := at.Add(size)
		f.whole = size <= minSlice
		samples, err := f.slice(ctx, at, end)
		if errors.Is(err, errTooMany) {
			size = max(minSlice, size/4)
			continue
		}
		if err != nil {
			return fmt.Errorf("reading history: %w", err)
		}
		if len(samples) > 0 && !f.give(ctx, samples) {
			return ctx.Err()
		}
		if len(samples) < fewSamples {
			size = min(2*size, 24*time.Hour)
		}
		at = end
	}
	return nil
}

// slice reads [from, to) of every tag that has history, sorted by time.
func (f *filler) slice(ctx context.Context, from, to time.Time) ([]pipeline.Sample, error) {
	var due []query
	for _, sp := range f.spans {
		if sp.from.Before(to) && !sp.to.Before(from) && !f.none[sp.tag] {
			due = append(due, query{span: sp, start: from, end: to})
		}
	}
	var out []pipeline.Sample
	err := f.l.batches(len(due), &f.l.limits.history, func(a, b int) error {
		samples, err := f.nodes(ctx, due[a:b])
		if err != nil {
			return err
		}
		if out = append(out, samples...); len(out) > manySamples && !f.whole {
			return errTooMany
		}
		return nil
	})
	if f.refused(err) {
		f.s.host.Log.Info("the server reads no history", "connector", f.s.host.ID, "err", err)
		for _, q := range due {
			f.none[q.tag] = true
		}
		return nil, nil
	}
	slices.SortStableFunc(out, byTime)
	return out, err
}

// refused reports that the server answered, and that asking again would not help. Its service is missing, it wants other
// rights, or it has no room for a single continuation point.
func (f *filler) refused(err error) bool {
	code, answered := errors.AsType[ua.StatusCode](err)
	return answered && code != ua.StatusBadTimeout && !sessionLost(err) && f.l.ch.Err() == nil
}

// conclude finds which of the intervals without history lost anything: where a tag's value still has the time of its
// last sample, nothing happened.
func (f *filler) conclude(ctx context.Context, missing []span) fillResult {
	var open []span
	var what []attribute
	var r fillResult
	for _, sp := range missing {
		if !sp.inclusive { // its next live value is another one
			r.lost = append(r.lost, sp)
			continue
		}
		if n, ok := f.s.nodes[sp.tag].node(f.l.namespaces); ok {
			open, what = append(open, sp), append(what, attribute{n, ua.AttributeIDValue})
		}
	}
	values, err := f.l.read(ctx, what)
	if err != nil {
		return fillResult{err: fmt.Errorf("reading values after a gap: %w", err)}
	}
	for i, sp := range open {
		if !values[i].Source.Equal(sp.from) {
			r.lost = append(r.lost, sp)
		}
	}
	return r
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
