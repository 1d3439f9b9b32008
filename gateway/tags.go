package gateway

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

func (v *views) applyInbox(r kafka.Record) error {
	var rec inboxv1.InboxRecord
	if err := proto.Unmarshal(r.Value, &rec); err != nil {
		return fmt.Errorf("decoding an inbox record: %w", err)
	}
	tb := rec.GetTags()
	if tb == nil {
		return nil
	}
	info := map[string]*inboxv1.TagDescriptor{}
	for _, t := range tb.GetTags() {
		info[t.GetTagId()] = t
	}
	changed := map[string]*gatewayv1.TagValue{}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range inbox.Decode(tb, nil) {
		old := v.tags[s.Tag]
		if old != nil && s.At.Before(old.GetSourceTime().AsTime()) {
			continue // history fills the past, it never is the current value
		}
		tv := tagValue(s, info[s.Tag], tb.GetSourceId())
		v.tags[s.Tag], changed[s.Tag] = tv, tv
	}
	for w := range v.watch {
		w.offer(changed)
	}
	return nil
}

func tagValue(s pipeline.Sample, d *inboxv1.TagDescriptor, source string) *gatewayv1.TagValue {
	t := &gatewayv1.TagValue{
		TagId: s.Tag, AssetPath: d.GetAssetPath(), Value: value(s.Value), Type: inboxv1.ValueType(s.Value.Type()),
		StatusCode: uint32(s.Quality), StatusName: s.Quality.String(), UnitCode: d.GetUnitCode(), SourceId: source,
		Quality:    [...]eventv1.Quality{eventv1.Quality_QUALITY_GOOD, eventv1.Quality_QUALITY_UNCERTAIN, eventv1.Quality_QUALITY_BAD}[s.Quality.Severity()],
		SourceTime: timestamppb.New(s.At), ReceiveTime: timestamppb.New(s.Seen),
	}
	if !s.ServerAt.IsZero() {
		t.ServerTime = timestamppb.New(s.ServerAt)
	}
	return t
}

// value returns the value as the event model writes it, nil for null.
func value(v pipeline.Value) *eventv1.Value {
	switch v.Type() {
	case pipeline.TypeBool:
		return &eventv1.Value{Kind: &eventv1.Value_BoolValue{BoolValue: v.AsBool()}}
	case pipeline.TypeInt:
		return &eventv1.Value{Kind: &eventv1.Value_IntValue{IntValue: v.AsInt()}}
	case pipeline.TypeUint:
		return &eventv1.Value{Kind: &eventv1.Value_UintValue{UintValue: v.AsUint()}}
	case pipeline.TypeFloat, pipeline.TypeDouble:
		return &eventv1.Value{Kind: &eventv1.Value_DoubleValue{DoubleValue: v.AsDouble()}}
	case pipeline.TypeText, pipeline.TypeJSON:
		return &eventv1.Value{Kind: &eventv1.Value_StringValue{StringValue: v.AsText()}}
	case pipeline.TypeBytes:
		return &eventv1.Value{Kind: &eventv1.Value_BytesValue{BytesValue: []byte(v.AsText())}}
	case pipeline.TypeTime:
		return &eventv1.Value{Kind: &eventv1.Value_TimeValue{TimeValue: timestamppb.New(v.AsTime())}}
	case pipeline.TypeNull:
	}
	return nil
}

// selection says which tags a call is about.
type selection struct {
	ids   map[string]bool
	asset string
}

func newSelection(ids []string, asset string) selection {
	s := selection{asset: strings.TrimSuffix(asset, "/")}
	if len(ids) > 0 {
		s.ids = map[string]bool{}
		for _, id := range ids {
			s.ids[id] = true
		}
	}
	return s
}

func (s selection) has(t *gatewayv1.TagValue) bool {
	if s.ids != nil && !s.ids[t.GetTagId()] {
		return false
	}
	return s.asset == "" || t.GetAssetPath() == s.asset || strings.HasPrefix(t.GetAssetPath(), s.asset+"/")
}

func (v *views) readTags(s selection) []*gatewayv1.TagValue {
	v.mu.RLock()
	var out []*gatewayv1.TagValue
	for _, t := range v.tags {
		if s.has(t) {
			out = append(out, t)
		}
	}
	v.mu.RUnlock()
	sort.Slice(out, func(i, j int) bool { return out[i].GetTagId() < out[j].GetTagId() })
	return out
}

// ReadTags implements TagService.
func (s *server) ReadTags(_ context.Context, r *gatewayv1.ReadTagsRequest) (*gatewayv1.ReadTagsResponse, error) {
	out := &gatewayv1.ReadTagsResponse{Tags: s.views.readTags(newSelection(r.GetTagIds(), r.GetAssetPath()))}
	known := map[string]bool{}
	for _, t := range out.GetTags() {
		known[t.GetTagId()] = true
	}
	for _, id := range r.GetTagIds() {
		if !known[id] {
			out.UnknownTagIds = append(out.UnknownTagIds, id)
		}
	}
	return out, nil
}

// WatchTags implements TagService.
func (s *server) WatchTags(r *gatewayv1.WatchTagsRequest, stream grpc.ServerStreamingServer[gatewayv1.WatchTagsResponse]) error {
	return s.watchTags(stream.Context(), newSelection(r.GetTagIds(), r.GetAssetPath()), func(t *gatewayv1.TagValue) error {
		return stream.Send(&gatewayv1.WatchTagsResponse{Tag: t})
	})
}

// watchTags sends the current values and then changes until ctx ends. A slow client gets the newest value of each tag
// and misses those between: it watches a state, not a log.
func (s *server) watchTags(ctx context.Context, sel selection, send func(*gatewayv1.TagValue) error) error {
	w := newWatcher(sel)
	s.views.mu.Lock()
	w.offer(s.views.tags)
	s.views.watch[w] = struct{}{}
	s.views.mu.Unlock()
	defer func() {
		s.views.mu.Lock()
		delete(s.views.watch, w)
		s.views.mu.Unlock()
	}()
	for {
		for _, t := range w.take() {
			if err := send(t); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
	}
}

// watcher collects the newest value of each tag for one client; it never makes the view wait.
type watcher struct {
	sel  selection
	wake chan struct{} // one token: there is something to take

	mu      sync.Mutex
	pending map[string]*gatewayv1.TagValue
}

func newWatcher(sel selection) *watcher {
	return &watcher{sel: sel, wake: make(chan struct{}, 1), pending: map[string]*gatewayv1.TagValue{}}
}

func (w *watcher) offer(changed map[string]*gatewayv1.TagValue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, t := range changed {
		if w.sel.has(t) {
			w.pending[id] = t
		}
	}
	if len(w.pending) > 0 {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// take returns what has changed since the last take, sorted by tag.
func (w *watcher) take() []*gatewayv1.TagValue {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]*gatewayv1.TagValue, 0, len(w.pending))
	for _, t := range w.pending {
		out = append(out, t)
	}
	clear(w.pending)
	sort.Slice(out, func(i, j int) bool { return out[i].GetTagId() < out[j].GetTagId() })
	return out
}
