package dispatch

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

var routes = map[string]string{"L1": "demo/L1", "L2": "demo/L2"}

func newDispatcher(t *testing.T) *Dispatcher {
	t.Helper()
	c, err := kafka.Open(kafka.Config{Brokers: []string{"127.0.0.1:1"}, Namespace: "t", Partitions: 4, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return New(Options{Client: c, Count: func(string, float64) {}, Route: func(wc string) (string, bool, string) {
		a, ok := routes[wc]
		return a, ok, "L1"
	}})
}

func document(id string, version uint64, workCenters ...string) *eventv1.ProductionOrder {
	o := &eventv1.ProductionOrder{OrderId: id, Version: version, PlannedQuantity: &eventv1.Quantity{Value: "60", UnitCode: "C62"}}
	for i, wc := range workCenters {
		o.Operations = append(o.Operations, &eventv1.Operation{OperationId: "00" + string(rune('1'+i)) + "0", WorkCenter: wc})
	}
	return o
}

// apply returns what went out in words: "topic key" and, for an inbox, the operation, revision and withdrawal.
func apply(t *testing.T, d *Dispatcher, doc *eventv1.ProductionOrder) []string {
	t.Helper()
	v, err := proto.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	recs, err := d.Apply(kafka.Record{Topic: "t.order.request.v1", Key: []byte(doc.GetOrderId()), Value: v, Offset: 7})
	if err != nil {
		t.Fatal(err)
	}
	return words(t, recs)
}

func words(t *testing.T, recs []kafka.Record) []string {
	t.Helper()
	var out []string
	for _, r := range recs {
		w := r.Topic + " " + string(r.Key)
		if r.Topic == "t.inbox.v1" {
			var in inboxv1.InboxRecord
			if err := proto.Unmarshal(r.Value, &in); err != nil {
				t.Fatal(err)
			}
			op := in.GetOperation()
			w += " " + op.GetOperationId() + " r" + string(rune('0'+op.GetRevision()))
			if op.GetWithdrawn() {
				w += " withdrawn"
			}
		}
		if r.Topic == "t.dlq.dispatch.v1" {
			var dead inboxv1.DeadLetter
			if err := proto.Unmarshal(r.Value, &dead); err != nil {
				t.Fatal(err)
			}
			w += ": " + dead.GetReason()
		}
		out = append(out, w)
	}
	return out
}

// R16: one writer of order.v1, revisions of its own, a withdrawal to the asset that an operation leaves.
func TestOrdersAreRoutedRevisedAndWithdrawn(t *testing.T) {
	t.Parallel()
	d := newDispatcher(t)
	steps := []struct {
		name string
		doc  *eventv1.ProductionOrder
		want []string
	}{
		{"a new order", document("4711", 1, "L1"), []string{"t.order.v1 4711", "t.inbox.v1 demo/L1 0010 r1"}},
		{"the same document again", document("4711", 1, "L1"), nil},
		{"an older version", document("4711", 0, "L2"), nil},
		{"moved to another line", document("4711", 2, "L2"), []string{"t.order.v1 4711", "t.inbox.v1 demo/L1 0010 r2 withdrawn", "t.inbox.v1 demo/L2 0010 r2"}},
		{"a second operation", document("4711", 3, "L2", "L1"), []string{"t.order.v1 4711", "t.inbox.v1 demo/L2 0010 r3", "t.inbox.v1 demo/L1 0020 r3"}},
		{"an operation that is gone", document("4711", 4, "L2"), []string{"t.order.v1 4711", "t.inbox.v1 demo/L1 0020 r4 withdrawn", "t.inbox.v1 demo/L2 0010 r4"}},
	}
	for _, s := range steps {
		if diff := cmp.Diff(s.want, apply(t, d, s.doc)); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", s.name, diff)
		}
		again := newDispatcher(t) // a restart after every step changes nothing
		if err := again.Restore("", d.Snapshot(), nil); err != nil {
			t.Fatal(err)
		}
		d = again
	}
	gone := document("4711", 5, "L2")
	gone.Deleted = true
	if diff := cmp.Diff([]string{"t.order.v1 4711", "t.inbox.v1 demo/L2 0010 r5 withdrawn"}, apply(t, d, gone)); diff != "" {
		t.Errorf("a deleted order (-want +got):\n%s", diff)
	}
}

func TestBadDocumentsBecomeDeadLettersThatSayWhatToDo(t *testing.T) {
	t.Parallel()
	twice := document("4711", 1, "L1", "L1")
	twice.Operations[1].OperationId = "0010"
	for name, tc := range map[string]struct {
		doc  *eventv1.ProductionOrder
		want string
	}{
		"no order id":         {document("", 1, "L1"), "has no order_id"},
		"no operation":        {document("4711", 1), "has no operation"},
		"unknown work centre": {document("4711", 1, "LL1"), `did you mean "L1"?`},
		"operation twice":     {twice, "has operation 0010 twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := apply(t, newDispatcher(t), tc.doc)
			if len(got) != 1 || !strings.HasPrefix(got[0], "t.dlq.dispatch.v1 ") || !strings.Contains(got[0], tc.want) {
				t.Fatalf("got %q, want one dead letter with %q", got, tc.want)
			}
		})
	}
}

func TestABodyThatIsNoOrderBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	recs, err := newDispatcher(t).Apply(kafka.Record{Value: []byte("\xff\xff")})
	if err != nil {
		t.Fatal(err)
	}
	if got := words(t, recs); len(got) != 1 || !strings.Contains(got[0], "not a ProductionOrder") {
		t.Fatalf("got %q", got)
	}
}

func TestDeltasAddUpToTheSnapshot(t *testing.T) {
	t.Parallel()
	d := newDispatcher(t)
	var deltas [][]byte
	for _, doc := range []*eventv1.ProductionOrder{document("1", 1, "L1"), document("2", 1, "L2"), document("1", 2, "L2")} {
		apply(t, d, doc)
		deltas = append(deltas, d.Delta())
	}
	again := newDispatcher(t)
	if err := again.Restore("dispatch/1", nil, deltas); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d.Snapshot(), again.Snapshot()); diff != "" {
		t.Errorf("state from deltas (-want +got):\n%s", diff)
	}
}
