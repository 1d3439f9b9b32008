package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

// stream opens a gRPC stream that ends with the test.
func (w *world) stream(r *gatewayv1.StreamEventsRequest) (grpc.ServerStreamingClient[gatewayv1.StreamEventsResponse], context.CancelFunc) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	w.t.Cleanup(cancel)
	s, err := gatewayv1.NewEventServiceClient(w.grpc).StreamEvents(ctx, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, cancel
}

// read returns the next n event ids, sorted, and the last cursor: partitions mix as they come.
func read1(t *testing.T, s grpc.ServerStreamingClient[gatewayv1.StreamEventsResponse], n int) (ids []string, cursor string) {
	t.Helper()
	for range n {
		e, err := s.Recv()
		if err != nil {
			t.Fatalf("after %v: %v", ids, err)
		}
		ids, cursor = append(ids, e.GetEventId()), e.GetCursor()
	}
	slices.Sort(ids)
	return ids, cursor
}

func fillEvents(w *world) {
	for i := range 10 {
		w.put(w.production(fmt.Sprint("p", i), i, "PROGRESS", orderID(fmt.Sprint("o", i))), w.quality(fmt.Sprint("q", i), i, fmt.Sprint("S", i)))
	}
}

func ids(prefix string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(prefix, i))
	}
	return out
}

func TestAStreamSendsWhatItsFilterAsksFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, fillEvents).ready()
	for name, tc := range map[string]struct {
		f    *gatewayv1.EventFilter
		want []string
	}{
		"everything":        {nil, append(ids("p", 10), ids("q", 10)...)},
		"one type of event": {&gatewayv1.EventFilter{EventTypes: []string{"QualityEvent"}}, ids("q", 10)},
		"one type within":   {&gatewayv1.EventFilter{Types: []string{"PROGRESS"}}, ids("p", 10)},
		"one order":         {&gatewayv1.EventFilter{OrderId: "o3"}, []string{"p3"}},
		"one serial number": {&gatewayv1.EventFilter{SerialNumber: "S7"}, []string{"q7"}},
		"one work centre":   {&gatewayv1.EventFilter{WorkCenter: "L1", EventTypes: []string{"QualityEvent"}}, ids("q", 10)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := w.stream(&gatewayv1.StreamEventsRequest{Filter: tc.f, FromStart: true})
			if got, _ := read1(t, s, len(tc.want)); !cmp.Equal(tc.want, got) {
				t.Errorf("events %v, want %v", got, tc.want)
			}
		})
	}
}

func TestAStreamWithoutCursorBeginsNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, fillEvents).ready()
	s, _ := w.stream(&gatewayv1.StreamEventsRequest{})
	header, err := s.Header() // sent when the stream has found its place
	if err != nil || len(header.Get(cursorHeader)) != 1 {
		t.Fatalf("header %v, %v", header, err)
	}
	w.put(w.production("new", 20, "STARTED", nil))
	if got, _ := read1(t, s, 1); got[0] != "new" {
		t.Errorf("event %v", got)
	}
	// Cut off before the first event, a client resumes from the first cursor.
	again, _ := w.stream(&gatewayv1.StreamEventsRequest{Cursor: header.Get(cursorHeader)[0]})
	if got, _ := read1(t, again, 1); got[0] != "new" {
		t.Errorf("event %v", got)
	}
}

func TestAStreamResumesByCursorWithEachEventOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, fillEvents).ready()
	var all []string
	cursor := ""
	for n := range 5 {
		s, cancel := w.stream(&gatewayv1.StreamEventsRequest{Cursor: cursor, FromStart: true})
		var got []string
		got, cursor = read1(t, s, 4)
		cancel()
		all = append(all, got...)
		w.put(w.production(fmt.Sprint("r", n), 30+n, "PROGRESS", orderID(fmt.Sprint("x", n))))
	}
	s, _ := w.stream(&gatewayv1.StreamEventsRequest{Cursor: cursor})
	got, _ := read1(t, s, 5)
	all = append(all, got...)
	slices.Sort(all)
	if want := slices.Concat(ids("p", 10), ids("q", 10), ids("r", 5)); !cmp.Equal(want, all) {
		t.Errorf("events (-want +got):\n%s", cmp.Diff(want, all))
	}
}

func TestServerSentEventsResumeByLastEventIDWithEachEventOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{tick: 20 * time.Millisecond, ping: 40 * time.Millisecond}, fillEvents).ready()
	var all []string
	last := ""
	for range 5 {
		c := w.sse("/v1/events?from_start=true", last)
		for range 4 {
			event, data := c.next()
			var e struct{ EventID, EventType, Cursor string }
			if err := json.Unmarshal([]byte(data), &e); err != nil || e.EventType != event || e.Cursor != c.lastID {
				t.Fatalf("%v in %s %s, id %s", err, event, data, c.lastID)
			}
			all = append(all, e.EventID)
		}
		last = c.lastID
		c.cancel()
	}
	slices.Sort(all)
	if want := slices.Concat(ids("p", 10), ids("q", 10)); !cmp.Equal(want, all) {
		t.Errorf("events %v", all)
	}
	// From now: the first id comes before any event, and moves over what the filter leaves out.
	c := w.sse("/v1/events?filter.order_id=mine", "")
	w.put(w.production("other", 40, "PROGRESS", orderID("other")), w.production("m", 41, "PROGRESS", orderID("mine")))
	if _, data := c.next(); !strings.Contains(data, `"m"`) {
		t.Errorf("event %s", data)
	}
	before := c.lastID
	w.put(w.production("other2", 42, "PROGRESS", orderID("other")))
	late := time.After(10 * time.Second)
	for moved := false; !moved; {
		select {
		case line := <-c.lines:
			moved = strings.HasPrefix(line, "id: ") && line != "id: "+before
		case <-late:
			t.Fatal("Last-Event-ID stays where it was")
		}
	}
}

func TestAPageLooksBackABoundedWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, fillEvents).ready()
	c := w.sse("/v1/events?filter.event_types=QualityEvent&look_back=2", "")
	got := map[string]bool{}
	for range 2 * partitions {
		_, data := c.next()
		var e struct{ EventID string }
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatal(err)
		}
		got[e.EventID] = true
	}
	if len(got) != 2*partitions || got["q0"] {
		t.Errorf("events %v", got)
	}
	w.put(w.quality("next", 50, "S50"))
	if _, data := c.next(); !strings.Contains(data, `"next"`) {
		t.Errorf("behind the end of the log came %s", data)
	}
}

// reason returns the code, the reason and the metadata of an API error.
func reason(err error) (codes.Code, string, map[string]string) {
	st := status.Convert(err)
	for _, d := range st.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return st.Code(), i.GetReason(), i.GetMetadata()
		}
	}
	return st.Code(), "", nil
}

func TestACursorThatTheLogNoLongerHoldsIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, fillEvents).ready()
	s, cancel := w.stream(&gatewayv1.StreamEventsRequest{FromStart: true})
	_, first := read1(t, s, 1)
	cancel()
	topic := w.client.Topic("event.production.v1")
	for p := range int32(partitions) {
		_, end, err := w.client.Offsets(t.Context(), topic, p)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.client.DeleteRecords(t.Context(), topic, p, end-1); err != nil {
			t.Fatal(err)
		}
	}
	far := newCursor()
	for p := range partitions {
		far.Next[fmt.Sprintf("event.production.v1/%d", p)], far.Next[fmt.Sprintf("event.quality.v1/%d", p)] = 9999, 0
	}
	for name, cursor := range map[string]string{"retention has overtaken it": first, "the log was reset and ends before it": far.encode()} {
		t.Run(name, func(t *testing.T) {
			s, _ := w.stream(&gatewayv1.StreamEventsRequest{Cursor: cursor})
			_, err := s.Recv()
			code, why, meta := reason(err)
			if code != codes.OutOfRange || why != "CURSOR_EXPIRED" || meta["oldest_cursor"] == "" {
				t.Fatalf("error %v", err)
			}
			again, _ := w.stream(&gatewayv1.StreamEventsRequest{Cursor: meta["oldest_cursor"]})
			read1(t, again, partitions+10)
			httpCode, body := w.get("/v1/events?cursor=" + cursor)
			var p problem
			if err := json.Unmarshal([]byte(body), &p); err != nil || httpCode != http.StatusGone || p.Reason != "CURSOR_EXPIRED" || p.Metadata["oldest_cursor"] == "" {
				t.Errorf("%d %s", httpCode, body)
			}
		})
	}
	t.Run("a cursor of another filter", func(t *testing.T) {
		s, cancel := w.stream(&gatewayv1.StreamEventsRequest{FromStart: true, Filter: &gatewayv1.EventFilter{EventTypes: []string{"QualityEvent"}}})
		_, cursor := read1(t, s, 1)
		cancel()
		s, _ = w.stream(&gatewayv1.StreamEventsRequest{Cursor: cursor})
		if _, err := s.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "ProductionOrderEvent") {
			t.Errorf("error %v", err)
		}
		// Its own filter needs nothing of the topic that has moved on.
		s, _ = w.stream(&gatewayv1.StreamEventsRequest{Cursor: cursor, Filter: &gatewayv1.EventFilter{EventTypes: []string{"QualityEvent"}}})
		read1(t, s, 9)
	})
}

func TestAnEventThatCannotBeReadEndsTheStreamWithAWayOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, func(w *world) {
		w.put(w.production("a", 1, "STARTED", nil))
		broken := w.production("b", 2, "STARTED", nil)
		broken.Value = []byte{0xff, 0xff, 0xff}
		w.put(broken, w.production("c", 3, "STARTED", nil))
	}).ready()
	s, _ := w.stream(&gatewayv1.StreamEventsRequest{FromStart: true})
	read1(t, s, 1)
	_, err := s.Recv()
	code, why, meta := reason(err)
	if code != codes.DataLoss || why != "EVENT_UNREADABLE" {
		t.Fatalf("error %v", err)
	}
	s, _ = w.stream(&gatewayv1.StreamEventsRequest{Cursor: meta["next_cursor"]})
	if got, _ := read1(t, s, 1); got[0] != "c" {
		t.Errorf("went on at %v", got)
	}
	c := w.sse("/v1/events?from_start=true", "")
	c.next()
	if event, data := c.next(); event != "problem" || !strings.Contains(data, "EVENT_UNREADABLE") {
		t.Fatalf("%s %s", event, data)
	}
	if _, data := w.sse("/v1/events?from_start=true", c.lastID).next(); !strings.Contains(data, `"c"`) {
		t.Errorf("a browser goes on at %s", data)
	}
}

func TestKafkaAwayEndsStreamsAndReadinessAndBothComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{patience: 500 * time.Millisecond, tick: 50 * time.Millisecond}, fillEvents).ready()
	s, _ := w.stream(&gatewayv1.StreamEventsRequest{FromStart: true})
	_, cursor := read1(t, s, 20)
	w.gate.set(true)
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("an open stream: %v", err)
	}
	eventually(t, "not ready", func() bool {
		code, body := w.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "cannot be read")
	})
	if w.serves("") {
		t.Error("health says SERVING while Kafka is away")
	}
	var list struct{ Orders []struct{ OrderID string } }
	if w.json("/v1/orders", &list); len(list.Orders) != 10 {
		t.Errorf("%d orders while Kafka is away", len(list.Orders))
	}
	if code, header, body := w.do(http.MethodGet, "/v1/events"); code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(body, "KAFKA_AWAY") {
		t.Errorf("a new stream: %d %s", code, body)
	}
	w.gate.set(false)
	w.ready()
	w.put(w.production("after", 50, "STARTED", orderID("after")))
	s, _ = w.stream(&gatewayv1.StreamEventsRequest{Cursor: cursor})
	if got, _ := read1(t, s, 1); got[0] != "after" {
		t.Errorf("resumed with %v", got)
	}
	eventually(t, "the view", func() bool { return w.order("after") != nil && w.serves("") })
}

// What a client does not read stays in Kafka: the stream fetches no further than one batch per partition.
func TestAClientThatDoesNotReadGrowsNoMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, fillEvents).ready()
	s := newServer(Options{Client: w.client, Partitions: partitions, Now: time.Now, Log: slog.New(slog.DiscardHandler), limits: limits{tick: 10 * time.Millisecond}.orDefault()})
	e, err := s.openEvents(t.Context(), &gatewayv1.StreamEventsRequest{FromStart: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	ctx, cancel := context.WithCancel(t.Context())
	blocked, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- e.run(ctx, func(*gatewayv1.StreamEventsResponse) error {
			select {
			case blocked <- struct{}{}:
			default:
			}
			<-ctx.Done()
			return ctx.Err()
		}, nil)
	}()
	<-blocked
	if n := cap(e.batches); n != 0 {
		t.Errorf("%d batches may wait for the client", n)
	}
	// Every partition has one batch at hand; then they stand, however much is written.
	eventually(t, "one batch of each partition", func() bool { return !slices.Contains(positions(e), 0) })
	before := positions(e)
	for range 3 {
		fillEvents(w)
	}
	w.put(w.production("last", 99, "STARTED", orderID("last")))
	eventually(t, "the view has read it all", func() bool { return w.order("last") != nil })
	moved := 0
	for i, n := range positions(e) {
		if n != before[i] {
			moved++ // the partition whose batch is being sent has fetched its next one
		}
	}
	if moved > 1 {
		t.Errorf("the stream went on from %v to %v", before, positions(e))
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func positions(e *eventStream) (all []int64) {
	for _, f := range e.fetchers {
		all = append(all, f.Position())
	}
	return all
}

func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{stall: 300 * time.Millisecond}, func(w *world) {
		noise := make([]byte, 20_000) // does not compress
		for i := range 500 {
			w.put(w.production(fmt.Sprint(i), i, "PROGRESS", func(e *eventv1.ProductionOrderEvent) {
				for n := range noise {
					noise[n] = byte('a' + rand.IntN(26))
				}
				e.ReasonText = string(noise)
			}))
		}
	}).ready()
	u, err := url.Parse(w.http)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /v1/events?from_start=true HTTP/1.1\r\nHost: %s\r\n\r\n", u.Host)
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client is cut off", func() bool { return w.streamsOpen() == 0 })
}

func (w *world) streamsOpen() float64 {
	w.t.Helper()
	w.mu.Lock()
	if len(w.local.GetComponents()) == 0 {
		w.local.Components = append(w.local.Components, apiComponent())
	}
	w.mu.Unlock()
	return w.statusOf().GetComponents()[0].GetCounters()["streams"]
}

func TestStreamsAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{streams: 2}, nil).ready()
	a, b := w.sse("/v1/events", ""), w.sse("/v1/tags:watch", "")
	if code, body := w.get("/v1/tags:watch"); code != http.StatusTooManyRequests || !strings.Contains(body, "TOO_MANY_STREAMS") {
		t.Errorf("%d %s", code, body)
	}
	a.cancel()
	b.cancel()
	eventually(t, "the places are free again", func() bool { return w.streamsOpen() == 0 })
}
