package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

// cursor is where a stream stands: the next offset of every partition that its filter reads. Clients see it as one
// opaque word.
type cursor struct {
	Version int              `json:"v"`
	Next    map[string]int64 `json:"n"` // "topic/partition", the topic without its namespace
}

func newCursor() cursor { return cursor{Version: 1, Next: map[string]int64{}} }

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

// startOf returns where a stream begins: the cursor, the oldest events, some before the end, or now.
func (s *server) startOf(ctx context.Context, f filter, r *gatewayv1.StreamEventsRequest) (cursor, error) {
	at, given := newCursor(), newCursor()
	if r.GetCursor() != "" {
		var err error
		if given, err = decodeCursor(r.GetCursor()); err != nil {
			return at, err
		}
	}
	oldest, expired := newCursor(), false
	for _, t := range f.topics() {
		for p := range s.o.Partitions {
			key := t.key(p)
			start, end, err := offsets(ctx, s.o.Client, s.o.Client.Topic(t.topic), int32(p), s.o.limits.patience)
			if err != nil {
				return at, kafkaAway(err)
			}
			oldest.Next[key] = start
			next, ok := given.Next[key]
			switch {
			case r.GetCursor() != "" && !ok:
				return at, badField("cursor", fmt.Sprintf("comes from a stream whose filter left out %s; use the filter that it was made with, or begin without a cursor", t.event))
			case r.GetCursor() == "" && r.GetFromStart():
				next = start
			case r.GetCursor() == "":
				next = max(start, end-int64(r.GetLookBack()))
			case next < start || next > end: // retention has overtaken it, or the log was reset
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

func cursorGone(oldest cursor) error {
	return fail(codes.OutOfRange, "CURSOR_EXPIRED", "the events after this cursor are no longer kept; go on from metadata oldest_cursor and reload what you missed", map[string]string{"oldest_cursor": oldest.encode()})
}
