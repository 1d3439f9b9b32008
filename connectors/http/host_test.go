package http_test

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// testHost records what a connector says of itself.
type testHost struct {
	pipeline.Host
	mu       sync.Mutex
	statuses []pipeline.Status
	counts   map[string]float64
}

func newHost(t *testing.T) *testHost {
	t.Helper()
	h := &testHost{counts: map[string]float64{}}
	h.Host = pipeline.Host{
		ID: "erp", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) },
		Dir: t.TempDir(), StateDir: t.TempDir(),
		Report: func(s pipeline.Status) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.statuses = append(h.statuses, s)
		},
		Count: func(name string, n float64) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.counts[name] += n
		},
		Gauge: func(string, float64) {},
	}
	return h
}

func (h *testHost) status() pipeline.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.statuses) == 0 {
		return pipeline.Status{}
	}
	return h.statuses[len(h.statuses)-1]
}

func (h *testHost) count(name string) float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[name]
}

func quantity(value string) *eventv1.Quantity {
	return &eventv1.Quantity{Value: value, UnitCode: "C62"}
}

// progress is a partial confirmation of the first order of L1.
func progress(id, good, scrap string) *eventv1.ProductionOrderEvent {
	at := timestamppb.New(time.Date(2030, 1, 2, 3, 4, 5, 500_000_000, time.UTC))
	return &eventv1.ProductionOrderEvent{
		Header: &eventv1.EventHeader{
			EventId: id, OccurredAt: at, Scope: &eventv1.EquipmentScope{WorkCenter: "L1"},
		},
		Type:    eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PROGRESS,
		OrderId: "1000001", OperationId: "0010", IntervalEnd: at,
		Delta: &eventv1.QuantityReport{Good: quantity(good), Scrap: quantity(scrap)},
	}
}

// completed is the final confirmation.
func completed(id, good, total string) *eventv1.ProductionOrderEvent {
	e := progress(id, good, "0")
	e.Type = eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_COMPLETED
	e.FinalConfirmation = true
	e.Cumulative = &eventv1.QuantityReport{Good: quantity(total), Scrap: quantity("0")}
	return e
}

// event wraps a message as the lanes see it.
func event(t *testing.T, id string, m proto.Message) pipeline.Event {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return pipeline.Event{ID: id, Type: string(m.ProtoReflect().Descriptor().Name()), Key: "1000001", Body: body}
}

func newDiscardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func mustParse(t *testing.T, text string, into proto.Message) {
	t.Helper()
	if err := prototext.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func sourceText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/erp-source.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
