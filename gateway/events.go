package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// streamTopics are the topics of StreamEvents, by the short name of their event.
var streamTopics = []struct{ event, topic string }{
	{"ProductionOrderEvent", "event.production.v1"},
	{"QualityEvent", "event.quality.v1"},
}

// cursor is where a stream stands: the next offset of every partition. Clients see it as one opaque word.
type cursor struct {
	Version int              `json:"v"`
	Next    map[string]int64 `json:"n"` // "topic/partition", the topic without its namespace
}

func (c cursor) encode() string {
	b, err := json.Marshal(c) // map keys are sorted, so equal cursors are equal words
	if err != nil {
		panic(fmt.Sprintf("gateway: encoding a cursor: %v", err)) // numbers and strings always encode
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeCursor(word string) (cursor, error) {
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(word)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || c.Version != 1 || c.Next == nil {
		return c, badField("cursor", "is not one that an earlier event gave")
	}
	return c, nil
}

// StreamEvents implements EventService.
func (s *server) StreamEvents(r *gatewayv1.StreamEventsRequest, stream grpc.ServerStreamingServer[gatewayv1.StreamEventsResponse]) error {
	return s.streamEvents(stream.Context(), r, stream.Send)
}

// streamEvents sends events until ctx ends. Every partition is read in order; partitions mix as they come.
func (s *server) streamEvents(ctx context.Context, r *gatewayv1.StreamEventsRequest, send func(*gatewayv1.StreamEventsResponse) error) error {
	f, err := newFilter(r.GetFilter())
	if err != nil {
		return err
	}
	at, err := s.startOf(ctx, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan fetched)
	for _, t := range streamTopics {
		if !f.topic(t.event) {
			continue
		}
		for p := range s.o.Partitions {
			key := fmt.Sprintf("%s/%d", t.topic, p)
			go s.fetch(ctx, t.event, s.o.Client.Topic(t.topic), key, int32(p), at.Next[key], batches)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-batches:
			if b.err != nil {
				return s.streamError(ctx, b.err)
			}
			for _, rec := range b.recs {
				at.Next[b.key] = rec.Offset + 1
				res, err := f.response(b.event, rec)
				if err != nil {
					return fail(codes.DataLoss, "EVENT_UNREADABLE", fmt.Sprintf("the event at %s offset %d cannot be decoded", rec.Topic, rec.Offset), map[string]string{"next_cursor": at.encode()})
				}
				if res == nil {
					continue
				}
				res.Cursor = at.encode()
				if err := send(res); err != nil {
					return err
				}
			}
		}
	}
}

// fetched is what one partition gave.
type fetched struct {
	event, key string
	recs       []kafka.Record
	err        error
}

// fetch hands over one partition's records until ctx ends; the stream that started it cancels ctx when it ends.
func (s *server) fetch(ctx context.Context, event, topic, key string, part int32, from int64, to chan<- fetched) {
	fetcher := s.o.Client.NewFetcher(topic, part, from, kafka.FetchOptions{})
	for ctx.Err() == nil {
		recs, err := fetcher.Fetch(ctx)
		if len(recs) == 0 && err == nil {
			continue
		}
		select {
		case to <- fetched{event, key, recs, err}:
		case <-ctx.Done():
		}
		if err != nil {
			return
		}
	}
}

// startOf returns where the stream begins: the cursor, the oldest events, or now.
func (s *server) startOf(ctx context.Context, r *gatewayv1.StreamEventsRequest) (cursor, error) {
	at := cursor{Version: 1, Next: map[string]int64{}}
	var given cursor
	if r.GetCursor() != "" {
		var err error
		if given, err = decodeCursor(r.GetCursor()); err != nil {
			return at, err
		}
	}
	oldest, expired := cursor{Version: 1, Next: map[string]int64{}}, false
	for _, t := range streamTopics {
		for p := range s.o.Partitions {
			key := fmt.Sprintf("%s/%d", t.topic, p)
			start, end, err := s.o.Client.Offsets(ctx, s.o.Client.Topic(t.topic), int32(p))
			if err != nil {
				return at, fail(codes.Unavailable, "KAFKA_AWAY", fmt.Sprintf("the event topics cannot be read: %v", err), nil)
			}
			oldest.Next[key] = start
			next, ok := given.Next[key]
			switch {
			case r.GetCursor() != "" && !ok, r.GetCursor() == "" && r.GetFromStart():
				next = start
			case r.GetCursor() == "":
				next = end
			case next < start || next > end:
				expired = true
			}
			at.Next[key] = next
		}
	}
	if expired {
		return at, cursorGone(oldest)
	}
	return at, nil
}

func (s *server) streamError(ctx context.Context, err error) error {
	var gone *kafka.OutOfRange
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.As(err, &gone):
		oldest, err := s.startOf(ctx, &gatewayv1.StreamEventsRequest{FromStart: true})
		if err != nil {
			return err
		}
		return cursorGone(oldest)
	}
	return fail(codes.Unavailable, "KAFKA_AWAY", fmt.Sprintf("the event topics cannot be read: %v", err), nil)
}

func cursorGone(oldest cursor) error {
	return fail(codes.OutOfRange, "CURSOR_EXPIRED", "the events after this cursor are no longer kept; go on from metadata oldest_cursor and reload what you missed", map[string]string{"oldest_cursor": oldest.encode()})
}

// filter decides which events a stream sends.
type filter struct {
	f      *gatewayv1.EventFilter
	events []string
}

func newFilter(f *gatewayv1.EventFilter) (filter, error) {
	for _, e := range f.GetEventTypes() {
		if !slices.ContainsFunc(streamTopics, func(t struct{ event, topic string }) bool { return t.event == e }) {
			return filter{}, badField("filter.event_types", fmt.Sprintf("%q is not streamed; use ProductionOrderEvent or QualityEvent", e))
		}
	}
	for _, t := range f.GetTypes() {
		_, production := eventv1.ProductionOrderEventType_value["PRODUCTION_ORDER_EVENT_TYPE_"+t]
		_, quality := eventv1.QualityEventType_value["QUALITY_EVENT_TYPE_"+t]
		if !production && !quality {
			return filter{}, badField("filter.types", fmt.Sprintf("%q is not a type of event; for example PROGRESS, COMPLETED, RESULT_RECORDED", t))
		}
	}
	return filter{f, f.GetEventTypes()}, nil
}

func (f filter) topic(event string) bool {
	return len(f.events) == 0 || slices.Contains(f.events, event)
}

// response decodes an event and returns it, or nil when the filter leaves it out.
func (f filter) response(event string, r kafka.Record) (*gatewayv1.StreamEventsResponse, error) {
	res := &gatewayv1.StreamEventsResponse{EventType: event}
	var h *eventv1.EventHeader
	var kind, order string
	var serials []string
	switch event {
	case "ProductionOrderEvent":
		e := &eventv1.ProductionOrderEvent{}
		if err := proto.Unmarshal(r.Value, e); err != nil {
			return nil, fmt.Errorf("decoding a production order event: %w", err)
		}
		h, order = e.GetHeader(), e.GetOrderId()
		kind = strings.TrimPrefix(e.GetType().String(), "PRODUCTION_ORDER_EVENT_TYPE_")
		res.Event = &gatewayv1.StreamEventsResponse_ProductionOrder{ProductionOrder: e}
	case "QualityEvent":
		e := &eventv1.QualityEvent{}
		if err := proto.Unmarshal(r.Value, e); err != nil {
			return nil, fmt.Errorf("decoding a quality event: %w", err)
		}
		h, order, serials = e.GetHeader(), e.GetOrderId(), e.GetSerialNumbers()
		kind = strings.TrimPrefix(e.GetType().String(), "QUALITY_EVENT_TYPE_")
		res.Event = &gatewayv1.StreamEventsResponse_Quality{Quality: e}
	}
	res.EventId = h.GetEventId()
	if len(f.f.GetTypes()) > 0 && !slices.Contains(f.f.GetTypes(), kind) ||
		f.f.GetOrderId() != "" && f.f.GetOrderId() != order ||
		f.f.GetWorkCenter() != "" && f.f.GetWorkCenter() != h.GetScope().GetWorkCenter() ||
		f.f.GetSerialNumber() != "" && !slices.Contains(serials, f.f.GetSerialNumber()) {
		return nil, nil
	}
	return res, nil
}
