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

// query is what remains to be read of one tag in a slice.
type query struct {
	span
	start, end time.Time // asked for: start is in it, end is not
	point      []byte
	last       pipeline.Sample
	any        bool // last is set
}

// wants reports a time that is in both the interval that misses and the one that is asked for.
func (q *query) wants(at time.Time) bool {
	return at.After(q.from) && (at.Before(q.to) || q.inclusive && at.Equal(q.to)) && !at.Before(q.start) && at.Before(q.end)
}

// nodes reads some tags completely, page by page.
func (f *filler) nodes(ctx context.Context, due []query) ([]pipeline.Sample, error) {
	open := make([]*query, len(due))
	for i := range due {
		q := due[i] // read anew when a part is halved
		open[i] = &q
	}
	var out []pipeline.Sample
	for len(open) > 0 {
		results, err := f.page(ctx, open)
		if err != nil {
			f.release(ctx, open)
			return nil, err
		}
		var again []*query
		for i, q := range open {
			more, err := f.take(q, &results[i], &out)
			if err != nil {
				f.release(ctx, open)
				return nil, err
			}
			if more {
				again = append(again, q)
			}
		}
		if len(out) > manySamples && !f.whole {
			f.release(ctx, again)
			return nil, errTooMany
		}
		open = again
	}
	return out, nil
}

// page asks once for the next page of each query. New queries and continued ones go into separate requests, since the
// interval belongs to the request.
func (f *filler) page(ctx context.Context, open []*query) ([]wire.History, error) {
	results := make([]wire.History, len(open))
	for i := 0; i < len(open); {
		j := i + 1
		for j < len(open) && open[j].start.Equal(open[i].start) && open[j].end.Equal(open[i].end) && (open[j].point == nil) == (open[i].point == nil) {
			j++
		}
		resp, err := call[*wire.HistoryRead](ctx, f.l, f.request(open[i:j], false))
		if err != nil {
			return nil, err
		}
		if len(resp.Results) != j-i {
			return nil, fmt.Errorf("%d results for %d nodes: %w", len(resp.Results), j-i, ua.StatusBadUnknownResponse)
		}
		copy(results[i:j], resp.Results)
		i = j
	}
	return results, nil
}

func (f *filler) request(qs []*query, release bool) *ua.HistoryReadRequest {
	req := &ua.HistoryReadRequest{
		HistoryReadDetails: ua.NewExtensionObject(&ua.ReadRawModifiedDetails{
			StartTime: qs[0].start, EndTime: qs[0].end, NumValuesPerNode: pageSize,
		}),
		TimestampsToReturn: ua.TimestampsToReturnBoth, ReleaseContinuationPoints: release,
	}
	for _, q := range qs {
		n, _ := f.s.nodes[q.tag].node(f.l.namespaces) // a tag with a monitored item has a node
		if n == nil {
			n = ua.NewTwoByteNodeID(0)
		}
		req.NodesToRead = append(req.NodesToRead, &ua.HistoryReadValueID{NodeID: n, DataEncoding: &ua.QualifiedName{}, ContinuationPoint: q.point})
	}
	return req
}

// release lets the server forget continuation points that are not used any more; if that fails they time out.
func (f *filler) release(ctx context.Context, qs []*query) {
	qs = slices.DeleteFunc(slices.Clone(qs), func(q *query) bool { return q.point == nil })
	if len(qs) > 0 && f.l.ch.Err() == nil {
		_, _ = call[*wire.HistoryRead](ctx, f.l, f.request(qs, true))
	}
}

// take appends one page of a tag; more reports that it must be asked again.
func (f *filler) take(q *query, h *wire.History, out *[]pipeline.Sample) (more bool, err error) {
	switch {
	case h.Status == ua.StatusBadContinuationPointInvalid && q.point != nil:
		q.point = nil // begin again behind what was read
		if q.any {
			q.start = q.last.At.Add(resolution)
		}
		return q.end.After(q.start), nil
	case h.Status == ua.StatusBadNoContinuationPoints:
		return false, ua.StatusBadTooManyOperations // halves the number of tags read at once
	case h.Status == ua.StatusBadNoData, h.Status == ua.StatusBadBoundNotFound:
		return false, nil
	case bad(h.Status):
		if len(f.none) == 0 {
			f.s.host.Log.Info("a tag has no history, and perhaps others", "connector", f.s.host.ID, "tag", f.s.host.Tags[q.tag].ID, "err", statusText(h.Status))
		}
		f.none[q.tag] = true
		return false, nil
	}
	seen := f.s.host.Now()
	for _, v := range h.Values {
		if v.Source.IsZero() || !q.wants(v.Source) {
			continue
		}
		smp := historySample(f.s.host.Tags[q.tag].ID, v, seen)
		if q.any && keyOf(&smp) == keyOf(&q.last) {
			continue // repeated at a page's edge
		}
		q.last, q.any = smp, true
		*out = append(*out, smp)
	}
	q.point = h.Point
	return q.point != nil, nil
}

// historySample makes a sample of a historical value.
func historySample(tag string, v wire.DataValue, seen time.Time) pipeline.Sample {
	smp := pipeline.Sample{
		Tag: tag, Value: v.Value, Quality: raw(v.Status), At: v.Source, ServerAt: v.Server, Seen: seen.UTC(), Flags: pipeline.FlagHistorical,
	}
	if v.Clamped {
		smp.Flags |= pipeline.FlagClamped
	}
	return smp
}

// raw drops the bits that say "from history", so that a sample equals the live one that it stands for (Part 11 6.3).
func raw(q pipeline.Quality) pipeline.Quality {
	const infoType, dataValue, historian, limitsAndOverflow = 0xC00, 0x400, 0x1F, 0x380
	if q&infoType != dataValue {
		return q
	}
	if q &^= historian; q&limitsAndOverflow == 0 {
		q &^= dataValue
	}
	return q
}
