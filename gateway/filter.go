package gateway

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// streamTopic is a topic of StreamEvents with the short name of the event that is streamed from it.
type streamTopic struct{ event, topic string }

func (t streamTopic) key(partition int) string { return fmt.Sprintf("%s/%d", t.topic, partition) }

// streamTopics are the topics of StreamEvents.
func streamTopics() []streamTopic {
	var all []streamTopic
	for _, e := range []string{"ProductionOrderEvent", "QualityEvent"} {
		all = append(all, streamTopic{e, kafka.EventTopic(e)})
	}
	return all
}

// filter decides which events a stream sends.
type filter struct {
	f *gatewayv1.EventFilter
}

func newFilter(f *gatewayv1.EventFilter) (filter, error) {
	for _, e := range f.GetEventTypes() {
		if !slices.ContainsFunc(streamTopics(), func(t streamTopic) bool { return t.event == e }) {
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
	return filter{f}, nil
}

// topics are what the filter reads.
func (f filter) topics() []streamTopic {
	return slices.DeleteFunc(streamTopics(), func(t streamTopic) bool {
		return len(f.f.GetEventTypes()) > 0 && !slices.Contains(f.f.GetEventTypes(), t.event)
	})
}

// response decodes an event and returns it, or nil when the filter leaves it out.
func (f filter) response(t streamTopic, r kafka.Record) (*gatewayv1.StreamEventsResponse, error) {
	res := &gatewayv1.StreamEventsResponse{EventType: t.event}
	var h *eventv1.EventHeader
	var kind, order string
	var serials []string
	switch t.event {
	case "ProductionOrderEvent":
		e, err := decodeProduction(r)
		if err != nil || e == nil {
			return nil, err
		}
		h, order, kind = e.GetHeader(), e.GetOrderId(), strings.TrimPrefix(e.GetType().String(), "PRODUCTION_ORDER_EVENT_TYPE_")
		res.Event = &gatewayv1.StreamEventsResponse_ProductionOrder{ProductionOrder: e}
	case "QualityEvent":
		e, err := decodeQuality(r)
		if err != nil || e == nil {
			return nil, err
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

// decodeProduction returns the event of a record, nil when the record is an event of another type: a topic may take
// several.
func decodeProduction(r kafka.Record) (*eventv1.ProductionOrderEvent, error) {
	e := &eventv1.ProductionOrderEvent{}
	ok, err := decode(r, "ProductionOrderEvent", e)
	if !ok {
		return nil, err
	}
	return e, nil
}

func decodeQuality(r kafka.Record) (*eventv1.QualityEvent, error) {
	e := &eventv1.QualityEvent{}
	ok, err := decode(r, "QualityEvent", e)
	if !ok {
		return nil, err
	}
	return e, nil
}

func decode(r kafka.Record, event string, into proto.Message) (bool, error) {
	head, err := kafka.ParseEvent(r)
	if err != nil || head.Type != event {
		return false, err
	}
	if err := proto.Unmarshal(r.Value, into); err != nil {
		return false, fmt.Errorf("decoding a %s: %w", event, err)
	}
	return true, nil
}
