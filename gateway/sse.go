package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

// eventsSSE streams events as Server-Sent Events. The id of an event is its cursor, so that a browser that lost the
// connection resumes by itself with Last-Event-ID.
func (s *server) eventsSSE(w http.ResponseWriter, r *http.Request) {
	req, err := eventsRequest(r)
	if err != nil {
		writeProblem(w, status.Convert(err))
		return
	}
	e, err := s.openEvents(r.Context(), req)
	if err != nil { // said with a status code, before the stream begins
		writeProblem(w, status.Convert(err))
		return
	}
	defer e.close()
	out := s.newSSE(w)
	// The first id comes at once: who is cut off before the first event resumes here.
	if err := out.begin("id: " + e.at.encode() + "\n"); err != nil {
		return
	}
	out.end(r, e.run(r.Context(), func(e *gatewayv1.StreamEventsResponse) error {
		return out.send(e.GetCursor(), e.GetEventType(), e)
	}, func(at cursor) error { return out.ping("id: " + at.encode() + "\n") }))
}

func eventsRequest(r *http.Request) (*gatewayv1.StreamEventsRequest, error) {
	req := &gatewayv1.StreamEventsRequest{}
	if err := fill(req, r.URL.Query()); err != nil {
		return nil, err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		req.Cursor = last
	}
	return req, nil
}

// tagsSSE streams tag values as Server-Sent Events, the current ones first.
func (s *server) tagsSSE(w http.ResponseWriter, r *http.Request) {
	req := &gatewayv1.WatchTagsRequest{}
	if err := fill(req, r.URL.Query()); err != nil {
		writeProblem(w, status.Convert(err))
		return
	}
	t, err := s.openTags(newSelection(req.GetTagIds(), req.GetAssetPath()))
	if err != nil {
		writeProblem(w, status.Convert(err))
		return
	}
	defer t.close()
	out := s.newSSE(w)
	if err := out.begin(""); err != nil {
		return
	}
	out.end(r, t.run(r.Context(), func(v *gatewayv1.TagValue) error { return out.send("", "tag", v) }, func() error { return out.ping(": \n") }))
}

// sseWriter writes one event stream. It belongs to one goroutine.
type sseWriter struct {
	w     http.ResponseWriter
	c     *http.ResponseController
	l     limits
	quiet time.Duration // since the last write, in ticks
}

func (s *server) newSSE(w http.ResponseWriter) *sseWriter {
	return &sseWriter{w: w, c: http.NewResponseController(w), l: s.o.limits}
}

// begin sends the headers and how long a browser waits before it connects again.
func (o *sseWriter) begin(more string) error {
	o.w.Header().Set("Content-Type", "text/event-stream")
	o.w.Header().Set("Cache-Control", "no-store")
	o.w.Header().Set("X-Accel-Buffering", "no") // nginx
	o.w.WriteHeader(http.StatusOK)
	return o.write("retry: 2000\n" + more + "\n")
}

func (o *sseWriter) send(id, event string, m proto.Message) error {
	b, err := jsonForm().Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	text := "event: " + event + "\ndata: " + string(b) + "\n\n"
	if id != "" {
		text = "id: " + id + "\n" + text
	}
	return o.write(text)
}

// ping writes a block without data when nothing was written for a while: it keeps proxies from closing the stream,
// and its id moves Last-Event-ID over events that the filter left out. It is called once per tick.
func (o *sseWriter) ping(block string) error {
	if o.quiet += o.l.tick; o.quiet < o.l.ping {
		return nil
	}
	return o.write(block + "\n")
}

// write sends text at once. A client that does not read for limits.stall is cut off, so that it holds nothing here.
func (o *sseWriter) write(text string) error {
	o.quiet = 0
	stalled := time.AfterFunc(o.l.stall, func() {
		_ = o.c.SetWriteDeadline(time.Unix(1, 0)) // in the past: the write ends; an error means that it has ended
	})
	defer stalled.Stop()
	if _, err := o.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("writing to the client: %w", err)
	}
	return o.c.Flush()
}

// end tells the client why the stream ends, when it ends for a reason of ours, as an event "problem".
func (o *sseWriter) end(r *http.Request, err error) {
	if err == nil || r.Context().Err() != nil {
		return
	}
	st, ok := status.FromError(err)
	if !ok || st.Code() == codes.Canceled {
		return // the client is gone
	}
	p := problemOf(st)
	b, err := json.Marshal(p)
	if err != nil {
		return
	}
	text := "event: problem\ndata: " + string(b) + "\n\n"
	if next := p.Metadata["next_cursor"]; next != "" {
		text = "id: " + next + "\n" + text // a browser that connects again goes on behind what cannot be read
	}
	_ = o.write(text) // the client is gone when this fails
}
