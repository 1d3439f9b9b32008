package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

func (w *world) serves(service string) bool {
	w.t.Helper()
	res, err := healthpb.NewHealthClient(w.grpc).Check(w.t.Context(), &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		w.t.Fatal(err)
	}
	return res.GetStatus() == healthpb.HealthCheckResponse_SERVING
}

func TestHealthSaysServingOnceTheViewsAreBuilt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{patience: 200 * time.Millisecond}, func(w *world) { w.gate.set(true) })
	services := append(serviceNames(), "")
	for _, s := range services {
		if w.serves(s) {
			t.Errorf("%q serves before Kafka has answered once", s)
		}
	}
	if code, body := w.get("/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("healthz %d %s", code, body)
	}
	eventually(t, "a reason", func() bool {
		code, body := w.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "api: the topics cannot be read")
	})
	w.gate.set(false)
	w.ready()
	eventually(t, "serving", func() bool { return !slices.ContainsFunc(services, func(s string) bool { return !w.serves(s) }) })
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status.State != pipeline.Running {
		t.Errorf("component %+v", w.status)
	}
}

func TestReflectionNamesTheServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := reflectionpb.NewServerReflectionClient(w.grpc).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	res, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range res.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	for _, want := range append(serviceNames(), "grpc.health.v1.Health") {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not in %v", want, names)
		}
	}
}

func TestEveryErrorOfHTTPIsAProblemThatNamesTheField(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, nil).ready()
	for name, tc := range map[string]struct {
		method, path, reason, field string
		code                        int
	}{
		"an unknown order":              {"GET", "/v1/orders/4711", "ORDER_UNKNOWN", "", 404},
		"an unknown REST path":          {"GET", "/v1/ordres", "NO_SUCH_RESOURCE", "", 404},
		"an unknown path":               {"GET", "/nope", "NO_SUCH_RESOURCE", "", 404},
		"a directory":                   {"GET", "/console/", "NO_SUCH_RESOURCE", "", 404},
		"a method of REST":              {"DELETE", "/v1/orders", "METHOD_NOT_ALLOWED", "", 405},
		"a method of a stream":          {"POST", "/v1/events", "METHOD_NOT_ALLOWED", "", 405},
		"a method of the page":          {"POST", "/", "METHOD_NOT_ALLOWED", "", 405},
		"a method of health":            {"PUT", "/healthz", "METHOD_NOT_ALLOWED", "", 405},
		"a page that is too large":      {"GET", "/v1/orders?page_size=501", "INVALID_FIELD", "page_size", 400},
		"a page that is no number":      {"GET", "/v1/orders?pageSize=ten", "INVALID_FIELD", "page_size", 400},
		"a foreign token":               {"GET", "/v1/deadletters?page_token=xyz", "INVALID_FIELD", "page_token", 400},
		"a state that is none":          {"GET", "/v1/orders?state=RUNING", "INVALID_FIELD", "state", 400},
		"a parameter that is none":      {"GET", "/v1/orders?work_centre=L1", "INVALID_FIELD", "work_centre", 400},
		"a parameter twice":             {"GET", "/v1/orders?page_size=1&pageSize=2", "INVALID_FIELD", "page_size", 400},
		"a stream's unknown parameter":  {"GET", "/v1/events?order_id=1", "INVALID_FIELD", "order_id", 400},
		"a stream's parameter of a tag": {"GET", "/v1/tags:watch?asset=L1", "INVALID_FIELD", "asset", 400},
		"a cursor that is none":         {"GET", "/v1/events?cursor=abc", "INVALID_FIELD", "cursor", 400},
		"an event that is none":         {"GET", "/v1/events?filter.event_types=OrderEvent", "INVALID_FIELD", "filter.event_types", 400},
		"a type that is none":           {"GET", "/v1/events?filter.types=PROGRES", "INVALID_FIELD", "filter.types", 400},
		"a start that is no boolean":    {"GET", "/v1/events?from_start=maybe", "INVALID_FIELD", "from_start", 400},
		"too long a look back":          {"GET", "/v1/events?look_back=100000", "INVALID_FIELD", "look_back", 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, header, body := w.do(tc.method, tc.path)
			var p problem
			if err := json.Unmarshal([]byte(body), &p); err != nil || header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%v: %d %s %s", err, code, header.Get("Content-Type"), body)
			}
			if code != tc.code || p.Status != tc.code || p.Reason != tc.reason || p.Title == "" || p.Detail == "" {
				t.Errorf("%d %s", code, body)
			}
			if tc.field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != tc.field || p.Errors[0].Message == "") {
				t.Errorf("field errors %+v, want one of %s", p.Errors, tc.field)
			}
			if code == 405 && header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestThePageMayRunNothingInlineAndLoadNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, nil)
	code, header, body := w.do(http.MethodGet, "/")
	csp := header.Get("Content-Security-Policy")
	if code != http.StatusOK || !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("%d %s", code, csp)
	}
	for _, forbidden := range []string{" style=", "<style", " onclick", "http://", "https://"} {
		if strings.Contains(body, forbidden) {
			t.Errorf("the page holds %q", forbidden)
		}
	}
	for path, kind := range map[string]string{"/console.js": "javascript", "/console.css": "css", "/icon.svg": "svg", "/openapi.yaml": "yaml"} {
		if code, header, _ := w.do(http.MethodGet, path); code != http.StatusOK || !strings.Contains(header.Get("Content-Type"), kind) || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, code, header)
		}
	}
}

func TestAPanicInACallIsAnErrorAndNoCrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, nil).ready()
	w.mu.Lock()
	w.boom = true
	w.mu.Unlock()
	for _, path := range []string{"/v1/status", "/readyz"} { // through gRPC, and in a handler of HTTP itself
		if code, body := w.get(path); code != http.StatusInternalServerError || !strings.Contains(body, `"PANIC"`) || strings.Contains(body, "boom") {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if _, err := gatewayv1.NewStatusServiceClient(w.grpc).GetStatus(t.Context(), &gatewayv1.GetStatusRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("gRPC: %v", err)
	}
	if code, body := w.get("/metrics"); code != http.StatusOK || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics: %d %s", code, body)
	}
	err := recoverStream(slog.New(slog.DiscardHandler))(nil, nil, &grpc.StreamServerInfo{FullMethod: "/x"}, func(any, grpc.ServerStream) error { panic("boom") })
	if status.Code(err) != codes.Internal {
		t.Errorf("stream: %v", err)
	}
	w.mu.Lock()
	w.boom = false
	w.mu.Unlock()
	w.ready()
}

func TestAFeedThatPanicsOnARecordGoesOnWithoutIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, func(w *world) { w.put(w.production("p", 1, "STARTED", nil)) })
	v := newViews(Options{Client: w.client, Partitions: partitions, Log: slog.New(slog.DiscardHandler), limits: limits{}.orDefault()})
	ctx, cancel := context.WithCancel(t.Context())
	applied := 0
	p := part{f: feed{topic: "event.production.v1", apply: func(kafka.Record, bool) error {
		if applied++; applied == 2 {
			cancel()
		}
		panic("boom")
	}}, end: 2}
	p.n = w.client.PartitionFor(w.client.Topic(p.f.topic), []byte("1000001"))
	p.fetcher = w.client.NewFetcher(w.client.Topic(p.f.topic), p.n, 0, kafka.FetchOptions{})
	w.put(w.production("q", 2, "STARTED", nil))
	v.follow(ctx, &p)
	if v.progress.skipped[p.f.topic] != 2 {
		t.Errorf("skipped %v", v.progress.skipped)
	}
}

func TestRunEndsWithinTwoSecondsWithOpenStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, fillEvents).ready()
	c := w.sse("/v1/events?from_start=true", "") // reads nothing but the headers
	w.sse("/v1/tags:watch", "")
	s, _ := w.stream(&gatewayv1.StreamEventsRequest{FromStart: true})
	read1(t, s, 20)
	began := time.Now()
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("Run took %s", d)
	}
	for {
		if _, data := c.next(); data == "" {
			break // the stream has ended
		}
	}
	if _, err := s.Recv(); err == nil {
		t.Error("the gRPC stream goes on")
	}
}

func TestOnlyLoopbackAddressesAreServed(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{
		"127.0.0.1:0": true, "localhost:8480": true, "[::1]:1": true, "127.8.9.1:1": true,
		"0.0.0.0:8480": false, ":8480": false, "192.168.1.5:80": false, "[::]:80": false, "plant.example:80": false, "8480": false,
	} {
		if err := checkLoopback(addr); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
	err := Run(t.Context(), Options{HTTP: "0.0.0.0:0", GRPC: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "no authentication") {
		t.Errorf("Run on every address: %v", err)
	}
}
