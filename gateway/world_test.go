package gateway

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a broker with the plant's topics and an API over it.
type world struct {
	t         *testing.T
	gate      *gate
	cluster   *kfake.Cluster
	client    *kafka.Client
	producer  *kafka.Producer
	http, rpc string
	grpc      *grpc.ClientConn
	stop      func() error
	ticks     atomic.Int64

	mu     sync.Mutex
	local  *inboxv1.StatusReport
	boom   bool // the report panics
	status pipeline.Status
}

const partitions = 2

// newWorld starts a broker and fills it before the API starts.
func newWorld(t *testing.T, l limits, fill func(w *world)) *world {
	t.Helper()
	w := &world{t: t, gate: &gate{}, local: &inboxv1.StatusReport{Instance: "here/serve"}}
	var err error
	if w.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(w.gate.listen)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.cluster.Close)
	w.client = w.open(w.cluster.ListenAddrs())
	w.producer = w.client.NewProducer(kafka.ProducerOptions{})
	if err := w.client.EnsureTopics(t.Context(), kafka.Topics("t", partitions, map[string][]string{"erp": nil})); err != nil {
		t.Fatal(err)
	}
	if fill != nil {
		fill(w)
	}
	w.run(l)
	return w
}

func (w *world) open(addrs []string) *kafka.Client {
	c, err := kafka.Open(kafka.Config{Brokers: addrs, Namespace: "t", Partitions: partitions, Log: slog.New(slog.DiscardHandler), Now: w.tick})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// tick is the clock of records: no two writes have the same millisecond.
func (w *world) tick() time.Time {
	return epoch.Add(time.Duration(w.ticks.Add(1)) * time.Millisecond)
}

// run starts the API and waits until it listens; not until it is ready.
func (w *world) run(l limits) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	listens := make(chan map[string]string, 1)
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{
			HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0", Client: w.client, Partitions: partitions, Sinks: []string{"erp"},
			Local: w.report, Version: "v1", Namespace: "t", Log: slog.New(slog.DiscardHandler), Now: time.Now, limits: l,
			Report: func(s pipeline.Status) {
				w.mu.Lock()
				w.status = s
				w.mu.Unlock()
				select {
				case listens <- s.Details:
				default:
				}
			},
		})
	}()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	w.t.Cleanup(func() {
		if err := w.stop(); err != nil {
			w.t.Errorf("Run returned %v", err)
		}
	})
	select {
	case at := <-listens:
		w.http, w.rpc = "http://"+at["http"], at["grpc"]
	case err := <-done:
		done <- err
		w.t.Fatal(err)
	}
	var err error
	if w.grpc, err = grpc.NewClient("passthrough:///"+w.rpc, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.grpc.Close() })
}

func (w *world) report() *inboxv1.StatusReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.boom {
		panic("boom")
	}
	return proto.CloneOf(w.local)
}

// ready waits until the views are built.
func (w *world) ready() *world {
	w.t.Helper()
	eventually(w.t, "ready", func() bool { code, _ := w.get("/readyz"); return code == http.StatusOK })
	return w
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(15 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func (w *world) get(path string) (int, string) {
	w.t.Helper()
	code, _, body := w.do(http.MethodGet, path)
	return code, body
}

func (w *world) do(method, path string) (int, http.Header, string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.http+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// json gets a path and decodes its answer into v.
func (w *world) json(path string, v any) {
	w.t.Helper()
	code, body := w.get(path)
	if code != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s", path, code, body)
	}
	if err := json.Unmarshal([]byte(body), v); err != nil {
		w.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
}

func (w *world) put(recs ...kafka.Record) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	if _, err := w.producer.Produce(ctx, recs); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) message(topic, key string, m proto.Message) kafka.Record {
	w.t.Helper()
	v, err := proto.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	return kafka.Record{Topic: w.client.Topic(topic), Partition: -1, Key: []byte(key), Value: v}
}

var epoch = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

// production is the record of an event as the mapper writes it.
func (w *world) production(id string, second int, typ string, change func(*eventv1.ProductionOrderEvent)) kafka.Record {
	w.t.Helper()
	e := &eventv1.ProductionOrderEvent{
		Header: &eventv1.EventHeader{
			EventId: id, OccurredAt: timestamppb.New(at(second)),
			Scope: &eventv1.EquipmentScope{Enterprise: "demo", Site: "riverside", Area: "bottling", WorkCenter: "L1"},
		},
		Type: eventv1.ProductionOrderEventType(eventv1.ProductionOrderEventType_value["PRODUCTION_ORDER_EVENT_TYPE_"+typ]), OrderId: "1000001", OperationId: "0010",
	}
	if change != nil {
		change(e)
	}
	return w.event(pipeline.Event{ID: id, Revision: e.GetHeader().GetRevision(), Type: "ProductionOrderEvent", Key: e.GetOrderId(), At: at(second)}, e)
}

func (w *world) quality(id string, second int, serial string) kafka.Record {
	w.t.Helper()
	return w.event(pipeline.Event{ID: id, Type: "QualityEvent", Key: serial, At: at(second)}, &eventv1.QualityEvent{
		Header: &eventv1.EventHeader{EventId: id, OccurredAt: timestamppb.New(at(second)), Scope: &eventv1.EquipmentScope{WorkCenter: "L1"}},
		Type:   eventv1.QualityEventType_QUALITY_EVENT_TYPE_RESULT_RECORDED, OrderId: "1000001", SerialNumbers: []string{serial}, Verdict: eventv1.Verdict_VERDICT_PASS,
	})
}

func (w *world) event(e pipeline.Event, body proto.Message) kafka.Record {
	w.t.Helper()
	var err error
	if e.Body, err = proto.Marshal(body); err != nil {
		w.t.Fatal(err)
	}
	return w.client.EventRecord(e, "/demo")
}

func counted(good, scrap string) func(*eventv1.ProductionOrderEvent) {
	return func(e *eventv1.ProductionOrderEvent) {
		e.Delta = &eventv1.QuantityReport{Good: &eventv1.Quantity{Value: good, UnitCode: "C62"}, Scrap: &eventv1.Quantity{Value: scrap, UnitCode: "C62"}}
	}
}

func orderID(id string) func(*eventv1.ProductionOrderEvent) {
	return func(e *eventv1.ProductionOrderEvent) { e.OrderId = id }
}

// samples is the inbox record of samples of one asset.
func (w *world) samples(asset string, s ...pipeline.Sample) kafka.Record {
	w.t.Helper()
	return w.message("inbox.v1", asset, inbox.Encode("line", pipeline.Batch{Session: "s", Samples: s}, s, func(string) inbox.Meta {
		return inbox.Meta{Asset: asset, Unit: "C62"}
	}))
}

// testClient is a client that names topics; nothing answers it.
func testClient(t testing.TB) *kafka.Client {
	t.Helper()
	c, err := kafka.Open(kafka.Config{Brokers: []string{"127.0.0.1:1"}, Namespace: "t", Partitions: partitions, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
