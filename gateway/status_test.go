package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

func apiComponent() *inboxv1.ComponentStatus {
	return &inboxv1.ComponentStatus{Name: "api", Kind: "api", State: "running"}
}

func (w *world) statusOf() *gatewayv1.GetStatusResponse {
	w.t.Helper()
	code, body := w.get("/v1/status")
	var s gatewayv1.GetStatusResponse
	if err := protojson.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK {
		w.t.Fatalf("%d %v in %s", code, err, body)
	}
	return &s
}

func TestStatusJoinsThisProcessWithTheReportsOfOthers(t *testing.T) {
	t.Parallel()
	old, long := timestamppb.New(time.Now().Add(-time.Minute)), timestamppb.New(time.Now().Add(-48*time.Hour))
	w := newWorld(t, limits{}, func(w *world) {
		w.local.Components = []*inboxv1.ComponentStatus{apiComponent()}
		for _, r := range []*inboxv1.StatusReport{
			{Instance: "here/serve", ReportedAt: timestamppb.Now(), Components: []*inboxv1.ComponentStatus{{Name: "api", Kind: "api", State: "down", Reason: "what it said before"}}},
			{Instance: "old/map", ReportedAt: old, Components: []*inboxv1.ComponentStatus{{Name: "map/0", Kind: "map", State: "running"}, {Name: "sink/erp", Kind: "sink", State: "running"}}},
			{Instance: "gone/map", ReportedAt: long, Components: []*inboxv1.ComponentStatus{{Name: "map/9", Kind: "map", State: "running"}}},
			{Instance: "there/deliver", ReportedAt: timestamppb.Now(), Components: []*inboxv1.ComponentStatus{{
				Name: "sink/erp", Kind: "sink", State: "degraded", Reason: "the ERP is slow", Counters: map[string]float64{"held": 1},
				Held: []*inboxv1.HeldEffect{{Key: "1000001", EffectId: "e1", Reason: "no answer and no look-up", Waiting: 4}},
			}}},
		} {
			w.put(w.message("status.v1", r.GetInstance(), r))
		}
	})
	eventually(t, "the views", func() bool { _, body := w.get("/readyz"); return !strings.Contains(body, "api:") })
	s := w.statusOf()
	got := map[string]string{}
	for _, c := range s.GetComponents() {
		got[c.GetInstance()+" "+c.GetName()] = c.GetState().String() + " " + c.GetReason()
	}
	want := map[string]string{
		"here/serve api":         "COMPONENT_STATE_RUNNING ",
		"there/deliver sink/erp": "COMPONENT_STATE_DEGRADED the ERP is slow", // and not the dead process's
		"old/map map/0":          "COMPONENT_STATE_DOWN its process old/map has not reported for more than 10s; look whether it runs",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	if len(s.GetHeld()) != 1 || s.GetHeld()[0].GetSink() != "erp" || s.GetHeld()[0].GetWaiting() != 4 || s.GetReady() {
		t.Errorf("held %v, ready %v", s.GetHeld(), s.GetReady())
	}
	if code, body := w.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "map/0: its process old/map") {
		t.Errorf("readyz %d %s", code, body)
	}
	// A live report counts by our clock: the other host's may be wrong.
	w.put(w.message("status.v1", "old/map", &inboxv1.StatusReport{Instance: "old/map", ReportedAt: old, Components: []*inboxv1.ComponentStatus{{Name: "map/0", Kind: "map", State: "running"}}}))
	w.ready()
}

func TestDeadLettersAreListedNewestFirstAndOnce(t *testing.T) {
	t.Parallel()
	letter := func(w *world, stage string, n int) kafka.Record {
		return w.client.DeadLetterRecord(stage, pipeline.DeadLetter{Stage: stage, Code: "RULE_NULL_FIELD", Reason: fmt.Sprint("letter ", n), Body: make([]byte, 300_000)}, kafka.Cause{Offset: int64(n)})
	}
	w := newWorld(t, limits{}, func(w *world) {
		for n := range 15 {
			w.put(letter(w, []string{"map", "erp", "source"}[n%3], n))
		}
		w.put(letter(w, "map", 0)) // the step was repeated
	}).ready()
	list := func(query string) (reasons []string, pages int) {
		for token := ""; ; pages++ {
			var page struct {
				DeadLetters   []struct{ Reason string }
				NextPageToken string
			}
			w.json("/v1/deadletters?"+query+"&page_token="+token, &page)
			for _, d := range page.DeadLetters {
				reasons = append(reasons, d.Reason)
			}
			if token = page.NextPageToken; token == "" {
				return reasons, pages + 1
			}
		}
	}
	var want []string
	for n := 14; n >= 0; n-- {
		want = append(want, fmt.Sprint("letter ", n))
	}
	// A page ends below what a gRPC client takes, whatever its number of letters.
	if got, pages := list("page_size=500"); !cmp.Equal(want, got) || pages != 2 {
		t.Errorf("%d pages of %v", pages, got)
	}
	if got, _ := list("page_size=2&stage=erp"); !cmp.Equal([]string{"letter 13", "letter 10", "letter 7", "letter 4", "letter 1"}, got) {
		t.Errorf("of erp: %v", got)
	}
	if n := w.statusOf().GetDeadLetters(); n != 15 {
		t.Errorf("status counts %d", n)
	}
}

func TestDeadLettersStayWithinTheirLimits(t *testing.T) {
	t.Parallel()
	b := newDeadBook(limits{dead: 10, deadBytes: 500, deadFor: time.Hour})
	for n := range 100 {
		b.add(deadLetter{at: at(n), d: &inboxv1.DeadLetter{Id: fmt.Sprint(n)}, size: 100})
	}
	if len(b.list) != 5 || b.bytes != 500 || len(b.ids) != 5 || b.list[0].d.GetId() != "95" {
		t.Errorf("%d letters, %d bytes, %d ids", len(b.list), b.bytes, len(b.ids))
	}
	b.add(deadLetter{at: at(9000), d: &inboxv1.DeadLetter{Id: "new"}, size: 1000})
	if len(b.list) != 1 {
		t.Errorf("%d letters after a large one hours later", len(b.list))
	}
}

func TestMetricsParseAndTheirLabelsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, func(w *world) {
		c := apiComponent()
		odd := &inboxv1.ComponentStatus{Name: "source/line", Kind: "source", State: "running", Counters: map[string]float64{"samples": 7, "odd name%": 1}}
		w.local.Components = []*inboxv1.ComponentStatus{c, odd, odd}
		w.put(w.samples(line1, sample("L1/secret_tag", 1, pipeline.Int(1))), w.production("s", 1, "STARTED", nil))
	}).ready()
	code, header, body := w.do(http.MethodGet, "/metrics")
	if code != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%d %s", code, header.Get("Content-Type"))
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"plantloom_source_samples": 7, "plantloom_source_odd_name_": 1, "plantloom_api_tags_in_view": 1, "plantloom_api_orders_in_view": 1, "plantloom_dead_letters": 0} {
		if f := families[name]; len(f.GetMetric()) != 1 || value1(f.GetMetric()[0]) != want {
			t.Errorf("%s: %v, want %v", name, f, want)
		}
	}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if strings.HasPrefix(name, "plantloom_") && l.GetName() != "component" && l.GetName() != "instance" {
					t.Errorf("%s has label %s", name, l.GetName())
				}
			}
		}
	}
	if strings.Contains(body, "secret_tag") || strings.Contains(body, "1000001") {
		t.Error("a tag or an order stands in the metrics")
	}
}

func value1(m *dto.Metric) float64 {
	return m.GetUntyped().GetValue() + m.GetGauge().GetValue() + m.GetCounter().GetValue()
}
