package maptest

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/pipeline"
)

func TestAFailedTestShowsWhatDiffers(t *testing.T) {
	t.Parallel()
	r := Run([]string{"testdata/fail"}, Options{})
	var text bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/fail/report.txt", text.Bytes())
	if r.OK() || r.Failed() != 3 {
		t.Errorf("%d tests failed", r.Failed())
	}
}

func TestOnlyTheTestsThatAreAskedForRun(t *testing.T) {
	t.Parallel()
	r := Run([]string{"testdata/fail/press.map.yaml"}, Options{Run: regexp.MustCompile("^press/as ")})
	if len(r.Cases) != 1 || !r.OK() {
		t.Errorf("cases %+v", r.Cases)
	}
}

func TestFilesWithFaultsAreNotRun(t *testing.T) {
	t.Parallel()
	r := Run([]string{"../testdata/faults", "testdata/fail"}, Options{})
	if r.OK() || len(r.Cases) > 0 || !r.Faults.HasErrors() {
		t.Errorf("%d cases run, faults %d", len(r.Cases), r.Faults.Len())
	}
}

// observed is a run of a rule that gave one event and one write.
func observed(t *testing.T, change func(*eventv1.ProductionOrderEvent, *inboxv1.Command)) *run {
	t.Helper()
	at := time.Date(2026, 3, 2, 6, 0, 1, 0, time.UTC)
	m := &eventv1.ProductionOrderEvent{OrderId: "1", Header: &eventv1.EventHeader{EventId: "a", RecordedAt: timestamppb.New(at)}}
	c := &inboxv1.Command{CommandId: "c", Deadline: timestamppb.New(at)}
	change(m, c)
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	event := &pipeline.Event{ID: m.GetHeader().GetEventId(), Type: "ProductionOrderEvent", Key: "1", At: at, Body: body}
	return &run{test: &mapping.Test{Start: at}, seen: []seen{
		{kind: "event", rule: "r", event: event, body: m.ProtoReflect()},
		{kind: "write", rule: "r", command: c},
	}}
}

func TestWaysMustAgreeInIdsAndContents(t *testing.T) { // R13
	t.Parallel()
	same := func(*eventv1.ProductionOrderEvent, *inboxv1.Command) {}
	recorded := func(m *eventv1.ProductionOrderEvent, c *inboxv1.Command) {
		m.Header.RecordedAt, c.Deadline = nil, nil
	}
	for name, c := range map[string]struct {
		change  func(*eventv1.ProductionOrderEvent, *inboxv1.Command)
		restart string // what is wrong with it after a restart, "" nothing
		arrival string // in another arrival order
	}{
		"the same":            {change: same},
		"another id":          {func(m *eventv1.ProductionOrderEvent, _ *inboxv1.Command) { m.Header.EventId = "b" }, "another event id", "another event id"},
		"another body":        {func(m *eventv1.ProductionOrderEvent, _ *inboxv1.Command) { m.OrderId = "2" }, "another content", "another content"},
		"another command":     {func(_ *eventv1.ProductionOrderEvent, c *inboxv1.Command) { c.CommandId = "d" }, "another content", "another content"},
		"recorded at another": {recorded, "another content", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, w := range []struct {
				way  way
				want string
			}{{way{restart: true}, c.restart}, {way{seed: 1}, c.arrival}} {
				plain, other := observed(t, same), observed(t, c.change)
				got := differences(plain.test, w.way, plain, other)
				switch {
				case w.want == "" && len(got) > 0:
					t.Errorf("%+v: %s", w.way, got[0].Message)
				case w.want != "" && (len(got) != 1 || !strings.Contains(got[0].Message, w.want)):
					t.Errorf("%+v: %+v, want %s", w.way, got, w.want)
				}
			}
		})
	}
	plain, other := observed(t, same), observed(t, same)
	other.seen = other.seen[:1]
	if got := differences(plain.test, way{restart: true}, plain, other); len(got) != 1 || !strings.HasPrefix(got[0].Message, "missing: write r") {
		t.Errorf("a missing write: %+v", got)
	}
	if got := differences(plain.test, way{restart: true}, other, plain); len(got) != 1 || !strings.HasPrefix(got[0].Message, "one more: write r") {
		t.Errorf("one more write: %+v", got)
	}
}

func TestTheDesignsExamplePasses(t *testing.T) {
	t.Parallel()
	r := Run([]string{"testdata/ok"}, Options{})
	var text bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if !r.OK() || len(r.Cases) != 4 {
		t.Error(text.String())
	}
}
