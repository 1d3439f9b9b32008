package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

// eventsSSE streams events as Server-Sent Events. The id of an event is its cursor, so that a browser that lost the
// connection resumes by itself with Last-Event-ID.
func (s *server) eventsSSE(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	req := &gatewayv1.StreamEventsRequest{Cursor: q.Get("cursor"), Filter: &gatewayv1.EventFilter{
		EventTypes: q["filter.event_types"], Types: q["filter.types"], OrderId: q.Get("filter.order_id"),
		WorkCenter: q.Get("filter.work_center"), SerialNumber: q.Get("filter.serial_number"),
	}}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		req.Cursor = last
	}
	if v := q.Get("from_start"); v != "" {
		b, err := strconv.ParseBool(v)
		if err != nil {
			writeProblem(w, status.Convert(badField("from_start", "must be true or false")))
			return
		}
		req.FromStart = b
	}
	// What is wrong with the request is said with a status code, before the stream begins.
	if _, err := newFilter(req.GetFilter()); err != nil {
		writeProblem(w, status.Convert(err))
		return
	}
	if _, err := s.startOf(r.Context(), req); err != nil {
		writeProblem(w, status.Convert(err))
		return
	}
	sse(w, r, func(ctx context.Context, out *sseWriter) error {
		return s.streamEvents(ctx, req, func(e *gatewayv1.StreamEventsResponse) error { return out.send(e.GetCursor(), e.GetEventType(), e) })
	})
}

// tagsSSE streams tag values as Server-Sent Events, the current ones first.
func (s *server) tagsSSE(w http.ResponseWriter, r *http.Request) {
	sel := newSelection(r.URL.Query()["tag_ids"], r.URL.Query().Get("asset_path"))
	sse(w, r, func(ctx context.Context, out *sseWriter) error {
		return s.watchTags(ctx, sel, func(t *gatewayv1.TagValue) error { return out.send("", "tag", t) })
	})
}

// sseWriter writes one event stream; send and ping may be called from different goroutines.
type sseWriter struct {
	mu sync.Mutex
	w  http.ResponseWriter
	c  *http.ResponseController
}

func (o *sseWriter) send(id, event string, m proto.Message) error {
	b, err := jsonForm.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	text := "event: " + event + "\ndata: " + string(b) + "\n\n"
	if id != "" {
		text = "id: " + id + "\n" + text
	}
	return o.write(text)
}

func (o *sseWriter) write(text string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("writing to the client: %w", err)
	}
	return o.c.Flush()
}

// sse runs stream with a heartbeat beside it, headers first, until the client goes or stream ends.
func sse(w http.ResponseWriter, r *http.Request, stream func(context.Context, *sseWriter) error) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out := &sseWriter{w: w, c: http.NewResponseController(w)}
	ctx, cancel := context.WithCancel(r.Context())
	var pings sync.WaitGroup
	pings.Add(1)
	go func() {
		defer pings.Done()
		tick := time.NewTicker(pingEvery)
		defer tick.Stop()
		for err := out.write("retry: 2000\n\n"); err == nil; err = out.write(": ping\n\n") {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	err := stream(ctx, out)
	cancel()
	pings.Wait() // nothing writes after the handler returned
	if err != nil && r.Context().Err() == nil {
		st := status.Convert(err)
		if st.Code() != codes.Canceled {
			_ = out.write(fmt.Sprintf("event: error\ndata: %q\n\n", st.Message())) // the client is gone when this fails
		}
	}
}
