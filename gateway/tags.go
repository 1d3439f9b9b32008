package gateway

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// tag is the current value of a tag, with what tells a newer sample from an older one.
type tag struct {
	view       *gatewayv1.TagValue
	at, seen   time.Time
	ordinal    uint32
	historical bool
}

// newer reports whether s becomes the current value: the newest by source time. History fills the past and becomes
// current only where it is the newest that is known. The first value of a subscription is what the server holds now:
// it ends, for example, the bad status that an outage left, even where the value itself has not changed since before.
func (t *tag) newer(s *pipeline.Sample) bool {
	historical := s.Flags&pipeline.FlagHistorical != 0
	switch {
	case s.Op == pipeline.OpDelete:
		return false
	case t == nil || s.At.After(t.at):
		return true
	case s.At.Equal(t.at):
		return t.historical && !historical || t.historical == historical && (s.Ordinal >= t.ordinal || s.Op == pipeline.OpUpdate)
	}
	return !historical && s.Flags&pipeline.FlagInitial != 0 && s.Seen.After(t.seen)
}

func (v *views) applyInbox(r kafka.Record, _ bool) error {
	var rec inboxv1.InboxRecord
	if err := proto.Unmarshal(r.Value, &rec); err != nil {
		return fmt.Errorf("decoding an inbox record: %w", err)
	}
	tb := rec.GetTags()
	if tb == nil {
		return nil
	}
	// Most samples of a batch are overtaken by later ones of the same batch: only what stays is made into a view.
	samples := inbox.Decode(tb, nil)
	newest := map[string]*tag{}
	from := map[string]*pipeline.Sample{}
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range samples {
		s := &samples[i]
		known := newest[s.Tag]
		if known == nil {
			known = v.tags[s.Tag]
		}
		if known.newer(s) {
			newest[s.Tag] = &tag{at: s.At, seen: s.Seen, ordinal: s.Ordinal, historical: s.Flags&pipeline.FlagHistorical != 0}
			from[s.Tag] = s
		}
	}
	if len(newest) == 0 {
		return nil
	}
	info := map[string]*inboxv1.TagDescriptor{}
	for _, d := range tb.GetTags() {
		info[d.GetTagId()] = d
	}
	for id, t := range newest {
		t.view = tagValue(from[id], info[id], tb.GetSourceId())
		v.tags[id] = t
	}
	for w := range v.watch {
		w.offer(newest)
	}
	return nil
}

func tagValue(s *pipeline.Sample, d *inboxv1.TagDescriptor, source string) *gatewayv1.TagValue {
	return &gatewayv1.TagValue{
		TagId: s.Tag, AssetPath: d.GetAssetPath(), Value: value(s.Value), Type: inboxv1.ValueType(s.Value.Type()),
		StatusCode: uint32(s.Quality), StatusName: s.Quality.String(), UnitCode: d.GetUnitCode(), SourceId: source,
		Quality:    [...]eventv1.Quality{eventv1.Quality_QUALITY_GOOD, eventv1.Quality_QUALITY_UNCERTAIN, eventv1.Quality_QUALITY_BAD}[s.Quality.Severity()],
		SourceTime: stamp(s.At), ServerTime: stamp(s.ServerAt), ReceiveTime: stamp(s.Seen),
	}
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
		if s.has(t.view) {
			out = append(out, t.view)
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
	if n := proto.Size(out); n > maxAnswer/2 { // JSON is larger
		return nil, fail(codes.ResourceExhausted, "ANSWER_TOO_LARGE", fmt.Sprintf("%d tags are too many for one answer; narrow asset_path or tag_ids, or use WatchTags", len(out.GetTags())), nil)
	}
	return out, nil
}

// WatchTags implements TagService.
func (s *server) WatchTags(r *gatewayv1.WatchTagsRequest, stream grpc.ServerStreamingServer[gatewayv1.WatchTagsResponse]) error {
	t, err := s.openTags(newSelection(r.GetTagIds(), r.GetAssetPath()))
	if err != nil {
		return err
	}
	defer t.close()
	if err := stream.SendHeader(nil); err != nil { // the client knows that it watches, also where there is no tag yet
		return err
	}
	return t.run(stream.Context(), func(t *gatewayv1.TagValue) error { return stream.Send(&gatewayv1.WatchTagsResponse{Tag: t}) }, nil)
}

// tagStream is one client's watch.
type tagStream struct {
	s     *server
	w     *watcher
	leave func()
}

// openTags begins to collect the current values and their changes. The caller closes the stream.
func (s *server) openTags(sel selection) (*tagStream, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	t := &tagStream{s: s, w: newWatcher(sel), leave: leave}
	s.views.mu.Lock()
	defer s.views.mu.Unlock()
	t.w.offer(s.views.tags)
	s.views.watch[t.w] = struct{}{}
	return t, nil
}

func (t *tagStream) close() {
	t.s.views.mu.Lock()
	delete(t.s.views.watch, t.w)
	t.s.views.mu.Unlock()
	t.leave()
}

// run sends the current values and then changes until ctx ends. A slow client gets the newest value of each tag and
// misses those between: it watches a state, not a log. idle, when not nil, is called at every tick.
func (t *tagStream) run(ctx context.Context, send func(*gatewayv1.TagValue) error, idle func() error) error {
	tick := time.NewTicker(t.s.o.limits.tick)
	defer tick.Stop()
	for {
		for _, v := range t.w.take() {
			if err := send(v); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.w.wake:
		case <-tick.C:
			if idle != nil {
				if err := idle(); err != nil {
					return err
				}
			}
		}
	}
}

// watcher collects the newest value of each tag for one client; it never makes the view wait.
type watcher struct {
	sel  selection
	wake chan struct{} // one token: there is something to take

	mu      sync.Mutex
	pending map[string]*gatewayv1.TagValue // at most one for each tag of sel
}

func newWatcher(sel selection) *watcher {
	return &watcher{sel: sel, wake: make(chan struct{}, 1), pending: map[string]*gatewayv1.TagValue{}}
}

func (w *watcher) offer(changed map[string]*tag) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, t := range changed {
		if w.sel.has(t.view) {
			w.pending[id] = t.view
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
