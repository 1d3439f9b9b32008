package http_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plantloom/plantloom/connectors/http"
	"github.com/plantloom/plantloom/examples/demo/erp/sim"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/pipelinetest"
)

func TestTheSourceConforms(t *testing.T) {
	pipelinetest.Source(t, pipelinetest.SourceFixture{
		Device:     func(tb testing.TB) pipelinetest.Device { return newOrderPeer(tb) },
		Goroutines: serverGoroutines(),
	})
}

// R1 and the rest of what a sink promises, against an ERP that honours the key
// and against one that ignores it.
func TestTheSinkConforms(t *testing.T) {
	for name, ignoreKey := range map[string]bool{"key honoured": false, "key ignored": true} {
		t.Run(name, func(t *testing.T) {
			pipelinetest.Sink(t, pipelinetest.SinkFixture{
				Peer:          func(tb testing.TB) pipelinetest.Peer { return newERPPeer(tb, ignoreKey) },
				Event:         func(key string, n int) pipeline.Event { return pieceOf(t, key, n) },
				NotIdempotent: ignoreKey,
				Settles:       true,
				Goroutines:    serverGoroutines(),
			})
		})
	}
}

// serverGoroutines are the test double's own: they end when the connector
// closes its connections.
func serverGoroutines() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("net/http.(*Server).Serve"), goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
	}
}

// pieceOf is one piece more of the first order of L1 (key A) or L2 (key B).
func pieceOf(t *testing.T, key string, n int) pipeline.Event {
	t.Helper()
	id := fmt.Sprintf("%s-%d", key, n)
	m := progress(id, "1", "0")
	if key == "B" {
		m.OrderId, m.Header.Scope.WorkCenter = "2000001", "L2"
	}
	e := event(t, id, m)
	e.Key = m.GetOrderId()
	return e
}

// erpPeer is the demo ERP, whose restarts are those of a new process.
type erpPeer struct {
	config sim.Config
	server restarting
	erp    *sim.ERP
}

func newERPPeer(tb testing.TB, ignoreKey bool) *erpPeer {
	p := &erpPeer{config: sim.Config{Dir: tb.TempDir(), Password: "pw", IgnoreKey: ignoreKey, Now: time.Now}}
	p.Start(tb)
	tb.Cleanup(func() { p.Stop(tb) })
	return p
}

func (p *erpPeer) Sink(tb testing.TB) pipeline.Sink {
	tb.Helper()
	t, ok := tb.(*testing.T)
	if !ok {
		tb.Fatalf("the suite runs on a %T", tb)
	}
	sink, _ := newSink(t, decode(t, "testdata/erp-sink.yaml", "http://"+p.server.address, func(c *http.Config) {
		c.Timeout, c.RejectsBeforeExecuting = 300*time.Millisecond, true
	}))
	closer, ok := sink.(io.Closer)
	if !ok {
		tb.Fatal("the sink cannot be closed")
	}
	tb.Cleanup(func() {
		if err := closer.Close(); err != nil {
			tb.Error(err)
		}
	})
	return sink
}

// Effects are the partial confirmations of all orders by document number.
func (p *erpPeer) Effects(tb testing.TB) []pipelinetest.Effect {
	tb.Helper()
	books, err := p.erp.Ledger()
	if err != nil {
		tb.Fatal(err)
	}
	var out []pipelinetest.Effect
	for order, account := range books.Orders {
		for _, line := range account.Partials {
			out = append(out, pipelinetest.Effect{EventID: line.ExternalID, Key: order, Document: line.Document})
		}
	}
	slices.SortFunc(out, func(a, b pipelinetest.Effect) int { return strings.Compare(a.Document, b.Document) })
	return out
}

func (p *erpPeer) Fail(tb testing.TB, fault pipelinetest.Fault) {
	tb.Helper()
	kind := map[pipelinetest.Fault]string{
		pipelinetest.Refuse: sim.FaultRefuse, pipelinetest.Unavailable: sim.FaultUnavailable,
		pipelinetest.CommitAndHang: sim.FaultCommitHang, pipelinetest.Hang: sim.FaultHang,
	}[fault]
	form := httptest.NewRequest(nethttp.MethodPost, "/demo/faults", strings.NewReader(`{"next":[{"kind":"`+kind+`"}]}`))
	answer := httptest.NewRecorder()
	p.erp.Handler().ServeHTTP(answer, form)
	if answer.Code != nethttp.StatusOK {
		tb.Fatal(answer.Body)
	}
}

func (p *erpPeer) Stop(tb testing.TB) {
	tb.Helper()
	if err := p.erp.Close(); err != nil {
		tb.Error(err)
	}
	p.server.stop()
}

func (p *erpPeer) Start(tb testing.TB) {
	tb.Helper()
	erp, err := sim.New(p.config)
	if err != nil {
		tb.Fatal(err)
	}
	p.erp = erp
	p.server.start(tb, erp.Handler())
}

// restarting is a server that comes back on its address, as a restarted
// program does.
type restarting struct {
	address string
	server  *httptest.Server
}

func (r *restarting) start(tb testing.TB, handler nethttp.Handler) {
	tb.Helper()
	if r.address == "" {
		r.address = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", r.address)
	if err != nil {
		tb.Fatal(err)
	}
	r.address = listener.Addr().String()
	r.server = httptest.NewUnstartedServer(handler)
	if err := r.server.Listener.Close(); err != nil {
		tb.Fatal(err)
	}
	r.server.Listener = listener
	r.server.Start()
}

func (r *restarting) stop() {
	r.server.CloseClientConnections()
	r.server.Close()
}

// orderPeer releases orders and keeps them while it is away.
type orderPeer struct {
	server restarting

	mu     sync.Mutex
	orders []string // the version of each is its index + 1
}

func newOrderPeer(tb testing.TB) *orderPeer {
	p := &orderPeer{}
	p.Start(tb)
	tb.Cleanup(func() { p.Stop(tb) })
	return p
}

func (p *orderPeer) Source(tb testing.TB) pipeline.Source {
	tb.Helper()
	t, ok := tb.(*testing.T)
	if !ok {
		tb.Fatalf("the suite runs on a %T", tb)
	}
	source, _ := newSource(t, decode(t, "testdata/erp-source.yaml", "http://"+p.server.address, func(c *http.Config) {
		c.Auth = http.Auth{}
	}))
	return source
}

func (p *orderPeer) Ready(testing.TB) {}

func (p *orderPeer) Put(_ testing.TB, readings ...pipelinetest.Reading) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range readings {
		p.orders = append(p.orders, r.Order)
	}
}

func (p *orderPeer) Start(tb testing.TB) {
	tb.Helper()
	p.server.start(tb, nethttp.HandlerFunc(p.list))
}

func (p *orderPeer) Stop(testing.TB) { p.server.stop() }

// list answers with up to two orders after since.
func (p *orderPeer) list(w nethttp.ResponseWriter, r *nethttp.Request) {
	since, err := strconv.Atoi(r.URL.Query().Get("since"))
	if err != nil {
		w.WriteHeader(nethttp.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	items := []map[string]any{}
	next := since
	for next < len(p.orders) && len(items) < 2 {
		next++
		items = append(items, map[string]any{"order": p.orders[next-1], "version": next})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"orders": items, "next": next}) // the client may be gone
}
