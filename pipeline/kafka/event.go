package kafka

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// Headers of events: the CloudEvents 1.0 Kafka protocol binding in binary mode, with two extension attributes.
const (
	ceVersion    = "ce_specversion"
	ceID         = "ce_id"
	ceSource     = "ce_source"
	ceType       = "ce_type"
	ceSubject    = "ce_subject"
	ceTime       = "ce_time"
	ceRevision   = "ce_revision"
	ceHistorical = "ce_historical"
	contentType  = "content-type"

	typePrefix = "plantloom.event.v1." // the protobuf package of events
	protoMedia = "application/protobuf"
)

// EventTopic returns the suffix of the topic that takes events of a type.
func EventTopic(eventType string) string {
	switch eventType {
	case "QualityEvent":
		return "event.quality.v1"
	case "EquipmentStateEvent", "DowntimeEvent", "AlarmEvent", "OeeEvent":
		return "event.equipment.v1"
	case "MaterialConsumptionEvent":
		return "event.material.v1"
	case "EnergyEvent":
		return "event.energy.v1"
	}
	return "event.production.v1" // ProductionOrderEvent, UnitEvent
}

// EventRecord returns the record of an event: the body as value, the rest as CloudEvents headers. source is the
// producing asset and mapping as a URI reference. Equal events give equal records (R13); ce_time is the event time and
// the record's own time is the produce time (R8).
func (c *Client) EventRecord(e pipeline.Event, source string) Record {
	r := Record{
		Topic: c.Topic(EventTopic(e.Type)), Partition: -1, Key: []byte(e.Key), Value: e.Body,
		Headers: []Header{
			{ceVersion, []byte("1.0")},
			{ceID, []byte(e.EffectID())},
			{ceSource, []byte(source)},
			{ceType, []byte(typePrefix + e.Type)},
			{ceSubject, []byte(e.Key)},
			{ceTime, []byte(e.At.UTC().Format(time.RFC3339Nano))},
			{contentType, []byte(protoMedia)},
		},
	}
	if e.Revision > 0 {
		r.Headers = append(r.Headers, Header{ceRevision, strconv.AppendUint(nil, uint64(e.Revision), 10)})
	}
	if e.Historical {
		r.Headers = append(r.Headers, Header{ceHistorical, []byte("true")})
	}
	return r
}

// ParseEvent reads what EventRecord wrote. Its error says which header is missing or wrong.
func ParseEvent(r Record) (pipeline.Event, error) {
	var e pipeline.Event
	fail := func(format string, args ...any) (pipeline.Event, error) {
		return pipeline.Event{}, fmt.Errorf("reading the event at offset %d of %s/%d: %w", r.Offset, r.Topic, r.Partition, fmt.Errorf(format, args...))
	}
	id, kind := string(r.Header(ceID)), string(r.Header(ceType))
	if id == "" {
		return fail("header %s is missing", ceID)
	}
	short, ok := strings.CutPrefix(kind, typePrefix)
	if !ok {
		return fail("header %s is %q, it should begin with %s", ceType, kind, typePrefix)
	}
	at, err := time.Parse(time.RFC3339Nano, string(r.Header(ceTime)))
	if err != nil {
		return fail("header %s: %w", ceTime, err)
	}
	if v := r.Header(ceRevision); v != nil {
		n, err := strconv.ParseUint(string(v), 10, 32)
		if err != nil {
			return fail("header %s: %w", ceRevision, err)
		}
		if id, ok = strings.CutSuffix(id, "."+string(v)); !ok {
			return fail("header %s is %q and %s is %s, they do not agree", ceID, r.Header(ceID), ceRevision, v)
		}
		e.Revision = uint32(n)
	}
	e.ID, e.Type, e.Key, e.At, e.Body = id, short, string(r.Key), at.UTC(), r.Value
	e.Historical = string(r.Header(ceHistorical)) == "true"
	return e, nil
}
