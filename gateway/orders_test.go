package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

func (w *world) order(id string) *gatewayv1.OrderView {
	w.t.Helper()
	code, body := w.get("/v1/orders/" + id)
	if code != http.StatusOK {
		return nil
	}
	var res gatewayv1.GetOrderResponse
	if err := protojson.Unmarshal([]byte(body), &res); err != nil {
		w.t.Fatalf("%v in %s", err, body)
	}
	return res.GetOrder()
}

func revision(n uint32, action eventv1.RecordAction, then func(*eventv1.ProductionOrderEvent)) func(*eventv1.ProductionOrderEvent) {
	return func(e *eventv1.ProductionOrderEvent) {
		then(e)
		e.Header.Revision, e.Header.Action = n, action
	}
}

// R18: the view is what the topics hold, whatever order and repetition their records come in.
func TestAnOrderIsItsDocumentAndItsEventsEachCountedOnce(t *testing.T) {
	t.Parallel()
	doc := &eventv1.ProductionOrder{
		OrderId: "1000001", Version: 3, MaterialId: "WATER-05", PlannedQuantity: &eventv1.Quantity{Value: "120", UnitCode: "C62"},
		Operations: []*eventv1.Operation{{OperationId: "0010", WorkCenter: "L1"}},
	}
	correction := eventv1.RecordAction_RECORD_ACTION_CORRECTION
	w := newWorld(t, limits{}, func(w *world) {
		w.put(w.message("order.v1", "1000001", doc),
			w.production("d", 0, "DOWNLOADED", nil), w.production("s", 1, "STARTED", nil),
			w.production("p1", 10, "PROGRESS", counted("0.1", "1")), w.production("p1", 10, "PROGRESS", counted("0.1", "1")),
			w.production("p2", 20, "PROGRESS", revision(2, correction, counted("0.2", "0"))),
			w.production("p2", 20, "PROGRESS", revision(1, correction, counted("77", "0"))), w.production("p2", 20, "PROGRESS", counted("5", "0")),
			w.production("p3", 30, "PROGRESS", counted("4", "4")),
			w.production("p3", 30, "PROGRESS", revision(1, eventv1.RecordAction_RECORD_ACTION_CANCELLATION, counted("4", "4"))),
			w.production("p4", 31, "PROGRESS", counted("12345678901234567890.000000001", "")),
		)
	}).ready()
	want := &gatewayv1.OrderView{
		Order: doc, OrderId: "1000001", State: eventv1.OrderState_ORDER_STATE_RUNNING, Planned: "120", AssetPath: "demo/riverside/bottling/L1",
		StartedAt: timestamppb.New(at(1)), LastEventType: "PROGRESS",
		Reported: &eventv1.QuantityReport{Good: &eventv1.Quantity{Value: "12345678901234567890.300000001", UnitCode: "C62"}, Scrap: &eventv1.Quantity{Value: "1", UnitCode: "C62"}},
	}
	ignore := protocmp.IgnoreFields(&gatewayv1.OrderView{}, "changed_at")
	if diff := cmp.Diff(want, w.order("1000001"), protocmp.Transform(), ignore); diff != "" {
		t.Fatalf("order (-want +got):\n%s", diff)
	}
	w.put(w.production("c", 40, "COMPLETED", func(e *eventv1.ProductionOrderEvent) { e.FinalConfirmation = true }), w.production("p5", 39, "PROGRESS", counted("1", "0")))
	eventually(t, "completed", func() bool {
		return w.order("1000001").GetReported().GetGood().GetValue() == "12345678901234567891.300000001"
	})
	got := w.order("1000001")
	if got.GetState() != eventv1.OrderState_ORDER_STATE_COMPLETED || !got.GetFinalConfirmation() || got.GetLastEventType() != "COMPLETED" || !got.GetEndedAt().AsTime().Equal(at(40)) {
		t.Errorf("after completion: %v", got)
	}
}

func TestTheViewDoesNotDependOnTheOrderOfEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, nil)
	recs := []kafka.Record{
		w.production("d", 0, "DOWNLOADED", nil), w.production("s", 1, "STARTED", nil), w.production("h", 5, "HELD", nil), w.production("r", 6, "RESUMED", nil),
		w.production("p1", 10, "PROGRESS", counted("3", "1")), w.production("p1", 10, "PROGRESS", revision(1, eventv1.RecordAction_RECORD_ACTION_CORRECTION, counted("2", "0"))),
		w.production("c", 10, "COMPLETED", nil), w.message("order.v1", "1000001", &eventv1.ProductionOrder{OrderId: "1000001"}),
	}
	var want *gatewayv1.OrderView
	for range 200 {
		v := newViews(Options{limits: limits{}.orDefault()})
		for i, n := range rand.Perm(len(recs)) {
			r := recs[n]
			r.Time = at(i)
			apply := v.applyProduction
			if r.Topic == w.client.Topic("order.v1") {
				apply = v.applyOrder
			}
			if err := apply(r, true); err != nil {
				t.Fatal(err)
			}
		}
		got := v.orders.byID["1000001"].view
		if want == nil {
			want = got
		}
		if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&gatewayv1.OrderView{}, "changed_at")); diff != "" {
			t.Fatalf("another order of events gives another view:\n%s", diff)
		}
	}
	if want.GetState() != eventv1.OrderState_ORDER_STATE_COMPLETED || want.GetReported().GetGood().GetValue() != "2" {
		t.Errorf("view %v", want)
	}
}

func TestWhatIsNoOrderEventIsLeftOutAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, func(w *world) {
		broken := w.production("x", 1, "PROGRESS", counted("1", "0"))
		broken.Value = []byte{0xff, 0xff}
		w.put(broken, kafka.Record{Topic: w.client.Topic("event.production.v1"), Partition: 0, Value: []byte("no headers")},
			w.production("e", 1, "PROGRESS", counted("1e9", "0")), // no canonical decimal
			w.event(pipeline.Event{ID: "u", Type: "UnitEvent", Key: "1000001", At: at(1)}, &eventv1.UnitEvent{SerialNumber: "S1"}),
			w.production("p", 2, "PROGRESS", counted("7", "0")),
			kafka.Record{Topic: w.client.Topic("order.v1"), Partition: 0, Key: []byte("gone")}) // a tombstone
	}).ready()
	if got := w.order("1000001").GetReported().GetGood().GetValue(); got != "7" {
		t.Errorf("good %q", got)
	}
	w.mu.Lock()
	w.local.Components = append(w.local.Components, apiComponent())
	w.mu.Unlock()
	if n := w.statusOf().GetComponents()[0].GetCounters()["records_skipped"]; n != 3 {
		t.Errorf("%v records skipped, want 3", n)
	}
}

func TestOrdersAreListedNewestFirstInPagesThatNothingShifts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, func(w *world) {
		for i := range 7 {
			w.put(w.production(fmt.Sprint("s", i), i, "STARTED", orderID(fmt.Sprint("o", i))))
		}
		w.put(w.message("order.v1", "o9", &eventv1.ProductionOrder{OrderId: "o9", Operations: []*eventv1.Operation{{WorkCenter: "L2"}}}))
	}).ready()
	list := func(query string) (ids []string, next string) {
		var page struct {
			Orders        []struct{ OrderId string }
			NextPageToken string
		}
		w.json("/v1/orders?"+query, &page)
		for _, o := range page.Orders {
			ids = append(ids, o.OrderId)
		}
		return ids, page.NextPageToken
	}
	var all []string
	ids, next := list("page_size=3")
	all = append(all, ids...)
	w.put(w.production("late", 9, "STARTED", orderID("new"))) // comes to the front while we page
	eventually(t, "the new order", func() bool { return w.order("new") != nil })
	for next != "" {
		ids, next = list("page_size=3&page_token=" + next)
		all = append(all, ids...)
	}
	seen := map[string]bool{}
	for _, id := range all {
		if seen[id] || id == "new" {
			t.Errorf("%s stands twice, or should not: %v", id, all)
		}
		seen[id] = true
	}
	if len(all) != 8 || all[0] != "o9" {
		t.Errorf("orders %v", all)
	}
	for query, want := range map[string]int{"state=RUNNING": 8, "state=completed": 0, "state=RELEASED": 1, "work_center=L1": 8, "workCenter=L2": 1, "work_center=L": 0} {
		if ids, _ := list(query); len(ids) != want {
			t.Errorf("%s: %v, want %d", query, ids, want)
		}
	}
}

func TestAnOrderIDMayHoldASlash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, func(w *world) { w.put(w.production("s", 1, "STARTED", orderID("PO/47 11"))) }).ready()
	if got := w.order("PO%2F47%2011"); got.GetOrderId() != "PO/47 11" {
		t.Errorf("order %v", got)
	}
}

func TestTheOrderBookStaysWithinItsLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, nil)
	v := newViews(Options{limits: limits{orders: 100, facts: 500, closedFor: time.Hour}.orDefault()})
	put := func(r kafka.Record, at time.Time) {
		t.Helper()
		r.Time = at
		if err := v.applyProduction(r, true); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5000 {
		id := fmt.Sprint("o", i/10)
		typ := "PROGRESS"
		if i%10 == 9 {
			typ = "COMPLETED"
		}
		put(w.production(fmt.Sprint("e", i), i, typ, func(e *eventv1.ProductionOrderEvent) { counted("1", "0")(e); e.OrderId = id }), at(i))
		if n := len(v.orders.byID); n > 111 || v.orders.facts > 551 {
			t.Fatalf("%d orders, %d event ids", n, v.orders.facts)
		}
	}
	newest := v.orders.byID["o499"]
	if newest == nil || newest.view.GetReported().GetGood().GetValue() != "9" {
		t.Fatalf("the newest order: %v", newest)
	}
	put(w.production("e4990", 4990, "PROGRESS", func(e *eventv1.ProductionOrderEvent) { counted("1", "0")(e); e.OrderId = "o499" }), at(5000))
	if got := newest.view.GetReported().GetGood().GetValue(); got != "9" {
		t.Errorf("good %s after a repeat", got)
	}
	// Closed for longer than the horizon: nothing is remembered one by one, and nothing is added any more.
	put(w.production("x", 9000, "STARTED", orderID("x")), at(9000))
	v.orders.sweep()
	put(w.production("e4990", 4990, "PROGRESS", func(e *eventv1.ProductionOrderEvent) { counted("1", "0")(e); e.OrderId = "o499" }), at(9001))
	if got := newest.view.GetReported().GetGood().GetValue(); got != "9" || len(newest.facts) != 0 || v.orders.ignored != 1 {
		t.Errorf("good %s, %d ids, %d ignored", got, len(newest.facts), v.orders.ignored)
	}
}
