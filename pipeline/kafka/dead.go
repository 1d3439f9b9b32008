package kafka

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// Cause is the record that became, or led to, a dead letter. The zero value: there was none.
type Cause struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      time.Time
}

// CauseOf returns a record's place.
func CauseOf(r Record) Cause {
	return Cause{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time}
}

// maxDeadBody leaves room for reason and details below the record limit.
const maxDeadBody = 900_000

// DeadLetterRecord returns the record of a dead letter for a stage's topic. Its headers are those of Kafka Connect's
// DeadLetterQueueReporter, so that tools which know them can read it. It carries no clock of ours: equal causes give
// equal records. A body that would not fit is cut, and the details say so.
func (c *Client) DeadLetterRecord(stage string, d pipeline.DeadLetter, cause Cause) Record {
	m := &inboxv1.DeadLetter{
		Stage: text(stage), Code: text(d.Code), Reason: text(d.Reason), Key: text(d.Key), EventType: text(d.EventType),
		Body: d.Body, ContentType: text(d.ContentType), CauseTopic: text(cause.Topic), CausePartition: cause.Partition,
		CauseOffset: cause.Offset, Details: map[string]string{},
	}
	size := 0
	for k, v := range d.Details {
		if size += len(k) + len(v); size < maxRecord-maxDeadBody-10_000 {
			m.Details[text(k)] = text(v)
		}
	}
	if len(m.Reason) > 4000 {
		m.Reason = text(m.Reason[:4000])
	}
	if len(m.Body) > maxDeadBody {
		m.Details["body_bytes"] = strconv.Itoa(len(m.Body))
		m.Details["body_cut_to"] = strconv.Itoa(maxDeadBody)
		m.Body = m.Body[:maxDeadBody]
	}
	if !cause.Time.IsZero() {
		m.At = timestamppb.New(cause.Time)
	}
	m.Id = deadID(m)
	v, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("kafka: encoding a dead letter: %v", err)) // every string was made valid UTF-8
	}
	return Record{Topic: c.Topic(DeadTopic(stage)), Partition: -1, Key: []byte(d.Key), Value: v, Headers: deadHeaders(m)}
}

func deadHeaders(m *inboxv1.DeadLetter) []Header {
	h := []Header{
		{"__connect.errors.stage", []byte(m.GetStage())},
		{"__connect.errors.connector.name", []byte(m.GetStage())},
		{"__connect.errors.exception.class.name", []byte(m.GetCode())},
		{"__connect.errors.exception.message", []byte(m.GetReason())},
	}
	if m.GetCauseTopic() != "" {
		h = append(h,
			Header{"__connect.errors.topic", []byte(m.GetCauseTopic())},
			Header{"__connect.errors.partition", strconv.AppendInt(nil, int64(m.GetCausePartition()), 10)},
			Header{"__connect.errors.offset", strconv.AppendInt(nil, m.GetCauseOffset(), 10)})
	}
	return append(h, Header{ceID, []byte(m.GetId())}, Header{contentType, []byte(protoMedia)})
}

// deadID is equal for equal causes, so that a repeated step can be told from a second failure.
func deadID(m *inboxv1.DeadLetter) string {
	h := sha256.New()
	for _, s := range []string{m.GetStage(), m.GetCode(), m.GetKey(), m.GetEventType(), m.GetCauseTopic(), m.GetReason()} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	fmt.Fprintf(h, "%d/%d:", m.GetCausePartition(), m.GetCauseOffset())
	h.Write(m.GetBody())
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// text makes s valid for a protobuf string.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
