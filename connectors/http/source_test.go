package http_test

import (
	"context"
	"errors"
	"fmt"
	nethttp "net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plantloom/plantloom/connectors/http"
	"github.com/plantloom/plantloom/examples/demo/erp/sim"
	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// outlet keeps batches; emit, when set, decides what Emit returns.
type outlet struct {
	mu      sync.Mutex
	batches []pipeline.Batch
	emit    func(pipeline.Batch) error
	changed chan struct{}
}

func newOutlet(emit func(pipeline.Batch) error) *outlet {
	return &outlet{emit: emit, changed: make(chan struct{}, 1000)}
}

func (o *outlet) Emit(_ context.Context, b pipeline.Batch) error {
	if o.emit != nil {
		if err := o.emit(b); err != nil {
			return err
		}
	}
	o.mu.Lock()
	o.batches = append(o.batches, b)
	o.mu.Unlock()
	o.changed <- struct{}{}
	return nil
}

func (o *outlet) orders() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []string
	for _, b := range o.batches {
		for _, order := range b.Orders {
			out = append(out, fmt.Sprintf("%s/%d", order.GetOrderId(), order.GetVersion()))
		}
	}
	return out
}

func (o *outlet) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.batches)
}

func (o *outlet) cursor() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.batches) == 0 {
		return nil
	}
	return o.batches[len(o.batches)-1].Cursor
}

// await returns when done holds after some batch.
func (o *outlet) await(t *testing.T, done func() bool) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for !done() {
		select {
		case <-o.changed:
		case <-limit:
			t.Fatalf("never came to it; orders %v", o.orders())
		}
	}
}

func newSource(t *testing.T, config *http.Config) (pipeline.Source, *testHost) {
	t.Helper()
	host := newHost(t)
	source, err := http.Kind().Source(config, host.Host)
	if err != nil {
		t.Fatal(err)
	}
	return source, host
}

// runUntil runs the source until done holds, cancels it and returns its error.
func runUntil(t *testing.T, source pipeline.Source, cursor []byte, out *outlet, done func() bool) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx, cursor, out) }()
	out.await(t, done)
	cancel()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Second):
		t.Fatal("Run did not return within a second of the cancel")
		return nil
	}
}

func TestReleasedOrdersArriveOnceAndInFull(t *testing.T) {
	t.Parallel()
	erp, url := demoERP(t, func(c *sim.Config) {
		c.Now = func() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }
	})
	source, host := newSource(t, decode(t, "testdata/erp-source.yaml", url, nil))
	out := newOutlet(nil)
	if err := runUntil(t, source, nil, out, func() bool { return len(out.orders()) >= 6 }); err != nil {
		t.Fatal(err)
	}
	want := []string{"1000001/1", "1000002/2", "2000001/3", "2000002/4", "3000001/5", "3000002/6"}
	if diff := cmp.Diff(want, out.orders()); diff != "" {
		t.Error(diff)
	}
	order := &eventv1.ProductionOrder{
		OrderId: "1000001", Version: 1, OperationsType: eventv1.OperationsType_OPERATIONS_TYPE_PRODUCTION,
		State: eventv1.OrderState_ORDER_STATE_RELEASED, MaterialId: "SPARKLING-07", MaterialDescription: "Sparkling water 0.75 l",
		PlannedQuantity: quantity("10"), PeerStatuses: []string{"RELEASED"}, SourceSystem: "erp",
		PublishedAt: timestamppb.New(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)),
		Operations: []*eventv1.Operation{{
			OperationId: "0010", WorkCenter: "L1", PlannedQuantity: quantity("10"),
			Parameters: []*eventv1.Parameter{decimal("FillVolume", "0.75", "LTR"), decimal("CapTorque", "18.5", "F21")},
		}},
	}
	if diff := cmp.Diff(order, out.batches[0].Orders[0], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if host.status().State != pipeline.Running || host.count("orders") != 6 {
		t.Errorf("status %+v, counts %v", host.status(), host.counts)
	}

	// A restart goes on behind the cursor: only what is new arrives.
	sink, _ := newSink(t, decode(t, "testdata/erp-sink.yaml", url, nil))
	if _, err := sink.Write(t.Context(), []pipeline.Event{event(t, "f1", completed("f1", "10", "10"))}); err != nil {
		t.Fatal(err)
	}
	again := newOutlet(nil)
	if err := runUntil(t, source, out.cursor(), again, func() bool { return len(again.orders()) >= 1 }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1000003/7"}, again.orders()); diff != "" {
		t.Error(diff)
	}
	if polls := ledger(t, erp).Requests["GET /api/orders 200"]; polls < 4 {
		t.Errorf("%d polls", polls)
	}
}

func decimal(id, value, unit string) *eventv1.Parameter {
	return &eventv1.Parameter{Id: id, UnitCode: unit, Value: &eventv1.Value{Kind: &eventv1.Value_DecimalValue{DecimalValue: value}}}
}

// The acknowledgement rule: the cursor moves only after Emit returned nil.
func TestAFailedEmitIsEmittedAgainFromTheSamePlace(t *testing.T) {
	t.Parallel()
	_, url := demoERP(t, nil)
	source, _ := newSource(t, decode(t, "testdata/erp-source.yaml", url, nil))
	full := errors.New("disk full")
	calls := 0
	out := newOutlet(func(pipeline.Batch) error {
		if calls++; calls == 2 {
			return full
		}
		return nil
	})
	if err := source.Run(t.Context(), nil, out); !errors.Is(err, full) {
		t.Fatalf("Run returned %v", err)
	}
	if err := runUntil(t, source, out.cursor(), out, func() bool { return len(out.orders()) >= 6 }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1000001/1", "1000002/2", "2000001/3", "2000002/4", "3000001/5", "3000002/6"}, out.orders()); diff != "" {
		t.Error(diff)
	}
}

func TestABlockedEmitHoldsTheSourceAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	erp, url := demoERP(t, nil)
	source, _ := newSource(t, decode(t, "testdata/erp-source.yaml", url, nil))
	ctx, cancel := context.WithCancel(t.Context())
	entered := make(chan struct{})
	out := newOutlet(func(pipeline.Batch) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	})
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx, nil, out) }()
	<-entered
	polls := ledger(t, erp).Requests["GET /api/orders 200"]
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("after the cancel: %v", err)
	}
	if polls != 1 || out.cursor() != nil {
		t.Errorf("%d polls while Emit was blocked, cursor %s", polls, out.cursor())
	}
}

func TestAnOrderThatCannotBeReadIsADeadLetterAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	url, _ := peer(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.URL.Query().Get("since") == "9" {
			fmt.Fprint(w, `{"orders":[],"next":9}`)
			return
		}
		fmt.Fprint(w, `{"orders":[{"order":"A","version":1,"quantity":"1"},{"order":"B","version":2,"quantity":1.50e1},
			{"order":"C","version":3,"quantity":12.500},{"version":4,"quantity":"1"},{"order":"E","version":-1},7],"next":9}`)
	})
	source, host := newSource(t, decode(t, "testdata/erp-source.yaml", url, nil))
	out := newOutlet(nil)
	if err := runUntil(t, source, nil, out, func() bool { return out.count() >= 1 }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A/1", "C/3"}, out.orders()); diff != "" {
		t.Error(diff)
	}
	if got := out.batches[0].Orders[1].GetPlannedQuantity().GetValue(); got != "12.5" {
		t.Errorf("the quantity is %q", got)
	}
	type dead struct{ Key, Body, Why string }
	var got []dead
	for _, d := range out.batches[0].Dead {
		if d.Code != "ORDER_UNREADABLE" || d.ContentType != "application/json" || d.Stage != "source" {
			t.Errorf("got %+v", d)
		}
		got = append(got, dead{d.Key, string(d.Body), d.Reason})
	}
	want := []dead{
		{"B", `{"order":"B","quantity":1.50e1,"version":2}`, `:19:31: value: "1.50e1" is no decimal number such as 12.5`},
		{"", `{"quantity":"1","version":4}`, `order_id is empty`},
		{"E", `{"order":"E","version":-1}`, `:14:14: version: -1 is no integer from 0`},
		{"", `7`, `:13:16: evaluating "o.order": cannot fetch order from int`},
	}
	for i := range got {
		if i < len(want) && !strings.HasSuffix(got[i].Why, want[i].Why) {
			t.Errorf("%s: %q, want %q", got[i].Body, got[i].Why, want[i].Why)
		}
		got[i].Why = ""
		want[i].Why = ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if host.count("unreadable_orders") != 4 || string(out.cursor()) != `{"since":"9"}` {
		t.Errorf("counts %v, cursor %s", host.counts, out.cursor())
	}
}

func TestAnAnswerThatIsNoListEndsTheRunWithAReason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"no list":         {200, `{"orders":{"a":1}}`, `gives no list in this answer: {"orders":{"a":1}}`},
		"nothing there":   {200, `{}`, "gives no list"},
		"no next":         {200, `{"orders":[]}`, "gives no next place"},
		"no JSON":         {200, `<html>`, "answered 200: <html>"},
		"wrong password":  {401, `{}`, "mend auth"},
		"an error":        {500, "boom\x1b[31m", "answered 500: boom�[31m"},
		"a redirect":      {302, ``, "redirects (302)"},
		"something after": {200, `{"orders":[],"next":1}{`, "answered 200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := peer(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			source, host := newSource(t, decode(t, "testdata/erp-source.yaml", url, nil))
			err := source.Run(t.Context(), nil, newOutlet(nil))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if host.status().State != pipeline.Down {
				t.Errorf("status %+v", host.status())
			}
		})
	}
}

func TestTheERPLostAndBackIsAnErrorAndThenGoesOn(t *testing.T) {
	t.Parallel()
	_, url := demoERP(t, func(c *sim.Config) {
		c.Faults.Next = []sim.NextFault{{Kind: sim.FaultDropBefore, Method: "GET"}, {Kind: sim.FaultUnavailable, Method: "GET"}}
	})
	source, host := newSource(t, decode(t, "testdata/erp-source.yaml", url, nil))
	out := newOutlet(nil)
	for range 2 {
		if err := source.Run(t.Context(), nil, out); err == nil {
			// A GET without effect may be repeated by the transport; a 503 may not pass silently.
			t.Fatal("the loss was not reported")
		}
	}
	if err := runUntil(t, source, nil, out, func() bool { return len(out.orders()) >= 6 }); err != nil {
		t.Fatal(err)
	}
	if host.status().State != pipeline.Running {
		t.Errorf("status %+v", host.status())
	}
}

func TestWithoutNextTheSameListIsEmittedOnce(t *testing.T) {
	t.Parallel()
	var polls atomic.Int64
	third := make(chan struct{})
	url, _ := peer(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.URL.Query().Get("since") != "0" {
			t.Errorf("since is %q", r.URL.Query().Get("since"))
		}
		n := polls.Add(1)
		if n == 3 {
			close(third)
		}
		if n >= 3 {
			fmt.Fprint(w, `{"orders":[{"order":"A","version":2}]}`)
			return
		}
		fmt.Fprint(w, `{"orders":[{"order":"A","version":1}]}`)
	})
	text := strings.Replace(sourceText(t), "  next: =answer.next\n", "", 1)
	source, _ := newSource(t, decodeText(t, strings.Replace(text, "http://127.0.0.1:8490", url, 1), nil))
	out := newOutlet(nil)
	if err := runUntil(t, source, nil, out, func() bool { return out.count() >= 2 }); err != nil {
		t.Fatal(err)
	}
	<-third
	if diff := cmp.Diff([]string{"A/1", "A/2"}, out.orders()); diff != "" {
		t.Error(diff)
	}
}

func TestACursorOfSomebodyElseIsRefused(t *testing.T) {
	t.Parallel()
	_, url := demoERP(t, nil)
	source, _ := newSource(t, decode(t, "testdata/erp-source.yaml", url, nil))
	if err := source.Run(t.Context(), []byte("garbage"), newOutlet(nil)); err == nil || !strings.Contains(err.Error(), "cursor") {
		t.Errorf("got %v", err)
	}
}

// strictOrders maps fields of every type.
const strictOrders = `
url: URL
orders:
  path: /o
  items: =answer
  order:
    order_id: =o.id
    version: =o.v
    priority: =o.prio
    deleted: =o.gone
    state: =o.state
    scheduled_start: =o.start
    over_tolerance_percent: =o.over
    peer_statuses: =o.tags
    parameters:
      - {id: fixed, value: 5}
      - {id: text, value: "5"}
      - {id: given, value: =o.value}
    operations:
      each: =o.ops
      operation_id: =it.id
      planned_run_time_per_unit: =it.run
      scheduled_end: =o.start
`

type itemCase struct{ item, want string }

// strictCases are items with the order that they make, or with ERROR and what
// the reason says.
func strictCases() map[string]itemCase {
	return map[string]itemCase{
		"everything": {
			`{"id":4711,"v":"18446744073709551615","prio":-2,"gone":true,"state":"HELD","start":"2030-01-02T03:04:05+01:00",
			  "over":"05.0","tags":["REL","PCNF"],"value":1.10,"ops":[{"id":"0010","run":"1.5s"},{"id":"0020","run":90}]}`,
			`order_id:"4711" version:18446744073709551615 state:ORDER_STATE_HELD over_tolerance_percent:"5" priority:-2
			 scheduled_start:{seconds:1893549845} operations:{operation_id:"0010" planned_run_time_per_unit:{seconds:1 nanos:500000000}
			 scheduled_end:{seconds:1893549845}} operations:{operation_id:"0020" planned_run_time_per_unit:{seconds:90}
			 scheduled_end:{seconds:1893549845}} parameters:{id:"fixed" value:{int_value:5}} parameters:{id:"text" value:{string_value:"5"}}
			 parameters:{id:"given" value:{string_value:"1.10"}} source_system:"erp" deleted:true peer_statuses:"REL" peer_statuses:"PCNF"`,
		},
		"nothing but the number": {
			`{"id":"A"}`,
			`order_id:"A" parameters:{id:"fixed" value:{int_value:5}} parameters:{id:"text" value:{string_value:"5"}}
			 parameters:{id:"given"} source_system:"erp"`,
		},
		"a state that does not exist":    {`{"id":"A","state":"REL"}`, "ERROR state: \"REL\" is none of"},
		"a time without zone":            {`{"id":"A","start":"2030-01-02T03:04:05"}`, "ERROR is no time with zone"},
		"a text that is no bool":         {`{"id":"A","gone":"true"}`, "ERROR deleted: \"true\" is no bool"},
		"a bool that is no text":         {`{"id":true}`, "ERROR order_id: true is no text"},
		"a list that is no text":         {`{"id":["A"]}`, "ERROR order_id: gives a []interface {}"},
		"a priority beyond 32 bits":      {`{"id":"A","prio":2147483648}`, "ERROR is no integer of 32 bits"},
		"a duration that wraps":          {`{"id":"A","ops":[{"run":9223372036854775807}]}`, "ERROR is no duration"},
		"operations that are no list":    {`{"id":"A","ops":{"id":"0010"}}`, "ERROR gives no list"},
		"statuses that are no list":      {`{"id":"A","tags":"REL"}`, "ERROR REL is no list"},
		"a structure as parameter value": {`{"id":"A","value":{}}`, "ERROR is no single value"},
	}
}

func TestOrdersAreMappedStrictly(t *testing.T) {
	t.Parallel()
	for name, c := range strictCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := peer(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) { fmt.Fprint(w, "["+c.item+"]") })
			source, _ := newSource(t, decodeText(t, strings.Replace(strictOrders, "URL", url, 1), nil))
			out := newOutlet(nil)
			if err := runUntil(t, source, nil, out, func() bool { return out.count() >= 1 }); err != nil {
				t.Fatal(err)
			}
			b := out.batches[0]
			if want, isError := strings.CutPrefix(c.want, "ERROR "); isError {
				if len(b.Orders) != 0 || len(b.Dead) != 1 || !strings.Contains(b.Dead[0].Reason, want) {
					t.Errorf("got %v %+v", b.Orders, b.Dead)
				}
				return
			}
			want := &eventv1.ProductionOrder{}
			mustParse(t, c.want, want)
			if len(b.Orders) != 1 {
				t.Fatalf("dead: %+v", b.Dead)
			}
			if diff := cmp.Diff(proto.Message(want), b.Orders[0], protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
