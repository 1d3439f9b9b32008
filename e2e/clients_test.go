//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plantloom/plantloom/e2e/servers"
	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

// buildGRPCurl builds the grpcurl that the project pins.
func buildGRPCurl(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "grpcurl")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-modfile=tools/grpcurl/go.mod", "-o", out, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	cmd.Dir = ".."
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building grpcurl: %v\n%s", err, said)
	}
	return out
}

// stream calls StreamEvents by grpcurl and returns what comes until n events are there, or until nothing has come for
// the time quiet.
func stream(t *testing.T, grpcurl, addr, request string, n int, quiet time.Duration) (out []*gatewayv1.StreamEventsResponse) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, grpcurl, "-plaintext", "-d", request, addr, "plantloom.gateway.v1.EventService/StreamEvents")
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	silence := time.AfterFunc(quiet, cancel)
	answers := json.NewDecoder(said)
	for len(out) < n {
		var one json.RawMessage
		if err := answers.Decode(&one); err != nil {
			break // it was ended after the time of silence
		}
		silence.Reset(quiet)
		out = append(out, parseEvent(t, string(one)))
	}
	cancel()
	_ = cmd.Wait() // it was killed
	return out
}

// grpcurl is a client that knows nothing but the address.
func grpcurl(t *testing.T, w *world, order string) {
	bin := buildGRPCurl(t)
	addr := addr(w.ports.grpc)
	contains(t, "the list of services", servers.GRPCurl(t, bin, "-plaintext", addr, "list"),
		"plantloom.gateway.v1.OrderService", "plantloom.gateway.v1.EventService", "plantloom.gateway.v1.TagService",
		"plantloom.gateway.v1.StatusService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection")
	contains(t, "health", servers.GRPCurl(t, bin, "-plaintext", addr, "grpc.health.v1.Health/Check"), "SERVING")

	var byGRPC gatewayv1.GetOrderResponse
	answer := servers.GRPCurl(t, bin, "-plaintext", "-d", fmt.Sprintf(`{"order_id": %q}`, order), addr, "plantloom.gateway.v1.OrderService/GetOrder")
	if err := protojson.Unmarshal([]byte(answer), &byGRPC); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byGRPC.GetOrder(), w.order(order), protocmp.Transform()); diff != "" {
		t.Errorf("the order by gRPC and by REST (-gRPC +REST):\n%s", diff)
	}
	if o := byGRPC.GetOrder(); o.GetState() != eventv1.OrderState_ORDER_STATE_COMPLETED || !o.GetFinalConfirmation() || o.GetReported().GetGood().GetValue() != o.GetPlanned() {
		t.Errorf("the order is %v", o)
	}

	filter := fmt.Sprintf(`"filter": {"order_id": %q, "event_types": ["ProductionOrderEvent"]}`, order)
	all := stream(t, bin, addr, fmt.Sprintf(`{"from_start": true, %s}`, filter), 1000, 2*time.Second)
	if len(all) < 4 { // downloaded, started, progress, completed
		t.Fatalf("the stream has %d events of order %s", len(all), order)
	}
	half := len(all) / 2
	rest := stream(t, bin, addr, fmt.Sprintf(`{"cursor": %q, %s}`, all[half-1].GetCursor(), filter), 1000, 2*time.Second)
	if diff := cmp.Diff(ids(all[half:]), ids(rest)); diff != "" {
		t.Errorf("what follows after the cursor (-want +got):\n%s", diff)
	}
}

func ids(events []*gatewayv1.StreamEventsResponse) (out []string) {
	for _, e := range events {
		out = append(out, e.GetEventId())
	}
	return out
}

// rest is the same over HTTP, and over all events: what kcat read must come, whatever the cut.
func rest(t *testing.T, w *world, bootstrap, order string) {
	want := map[string]bool{}
	for _, topic := range []string{"plantloom.event.production.v1", "plantloom.event.quality.v1"} {
		for _, r := range kcatEvents(t, bootstrap, topic) {
			want[r.headers["ce_id"]] = true
		}
	}
	seen, last, missing := map[string]int{}, "", len(want)
	for cut := range 3 { // two cuts of the line, then to the end; the plant goes on meanwhile
		n := 0
		w.events("from_start=true", last, 10*time.Second, func(e happened) bool {
			n++
			seen[e.GetEventId()]++
			last = e.id
			if want[e.GetEventId()] && seen[e.GetEventId()] == 1 {
				missing--
			}
			return missing > 0 && (cut == 2 || n < len(want)/3)
		})
	}
	for id := range want {
		if seen[id] == 0 {
			t.Errorf("event %s did not come", id)
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("event %s came %d times", id, n)
		}
	}
	problems(t, w)
	if got := w.orders("work_center=L9"); len(got) == 0 {
		t.Error("no order of work centre L9 is listed")
	}
	if o := w.order(order); len(w.orders("state=COMPLETED")) == 0 || o.GetOrderId() != order {
		t.Errorf("order %s: %v", order, o)
	}
}

// problems are errors as problem+json with a reason.
func problems(t *testing.T, w *world) {
	t.Helper()
	for path, want := range map[string]int{
		"/v1/orders/nobody":             http.StatusNotFound,
		"/v1/orders?page_size=-1":       http.StatusBadRequest,
		"/v1/events?cursor=x":           http.StatusBadRequest,
		"/v1/events?filter.types=DREAM": http.StatusBadRequest,
		"/v1/nothing":                   http.StatusNotFound,
	} {
		code, body := w.get(path)
		var p struct {
			Status int    `json:"status"`
			Detail string `json:"detail"`
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil || code != want || p.Status != want || p.Detail == "" {
			t.Errorf("GET %s: %d %s", path, code, strings.TrimSpace(body))
		}
	}
	for path, part := range map[string]string{"/openapi.yaml": "/v1/orders", "/metrics": "# TYPE plantloom_", "/healthz": "ok"} {
		code, body := w.get(path)
		if code != http.StatusOK {
			t.Errorf("GET %s: %d", path, code)
		}
		contains(t, path, body, part)
	}
}
