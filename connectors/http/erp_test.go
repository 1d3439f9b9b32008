package http_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/connectors/http"
	"github.com/plantloom/plantloom/examples/demo/erp/sim"
	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// demoERP is the simulated ERP of the examples behind a real HTTP server.
func demoERP(t *testing.T, change func(*sim.Config)) (*sim.ERP, string) {
	t.Helper()
	cfg := sim.Config{Dir: t.TempDir(), Password: "pw", Target: 10, Orders: 3, Now: time.Now}
	if change != nil {
		change(&cfg)
	}
	erp, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(erp.Handler())
	t.Cleanup(func() {
		if err := erp.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return erp, server.URL
}

func ledger(t *testing.T, erp *sim.ERP) sim.Ledger {
	t.Helper()
	l, err := erp.Ledger()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestConfirmationsStatusesAndInspectionsReachTheERP(t *testing.T) {
	t.Parallel()
	erp, url := demoERP(t, nil)
	sink, host := newSink(t, decode(t, "testdata/erp-sink.yaml", url, nil))
	downloaded := progress("d1", "0", "0")
	downloaded.Type = eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_DOWNLOADED
	paused := progress("x1", "0", "0")
	paused.Type = eventv1.ProductionOrderEventType_PRODUCTION_ORDER_EVENT_TYPE_PAUSED
	old := event(t, "h1", progress("h1", "9", "0"))
	old.Historical = true
	quality := &eventv1.QualityEvent{
		Type: eventv1.QualityEventType_QUALITY_EVENT_TYPE_RESULT_RECORDED, SerialNumbers: []string{"S1"}, OrderId: "1000001",
		Verdict: eventv1.Verdict_VERDICT_PASS,
		Results: []*eventv1.CharacteristicResult{{
			CharacteristicId: "torque", UnitCode: "NU",
			Value: &eventv1.Value{Kind: &eventv1.Value_DecimalValue{DecimalValue: "1.250"}},
		}},
	}
	receipts, err := sink.Write(t.Context(), []pipeline.Event{
		event(t, "d1", downloaded), event(t, "e1", progress("e1", "0.1", "1")), event(t, "x1", paused), old,
		event(t, "q1", quality), event(t, "e2", completed("e2", "0.2", "0.3")),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []pipeline.Receipt{
		{Document: "7000000001"}, {Document: "5000000002"},
		{Skipped: true, Note: "skipped: no route takes this ProductionOrderEvent"},
		{Skipped: true, Note: "skipped: from a back-fill job"},
		{Document: "6000000003"}, {Document: "5000000004"},
	}
	if diff := cmp.Diff(want, receipts); diff != "" {
		t.Error(diff)
	}
	books := ledger(t, erp)
	account := books.Orders["1000001"]
	if account.SumYield != "0.3" || len(account.Corrections) != 1 || account.Corrections[0].Scrap != "-1" {
		t.Errorf("got %+v", account)
	}
	if got := string(books.Inspections[0].Results); got != `[{"id":"torque","unit":"NU","value":"1.250"}]` {
		t.Errorf("results are %s", got)
	}
	if host.count("skipped_events") != 2 || host.status().State != pipeline.Running {
		t.Errorf("counts %v, status %+v", host.counts, host.status())
	}
}

// R1: what may have happened is in doubt, and the look-up finds it, with an ERP
// that honours the key and with one that ignores it.
func TestACommitWithoutAnAnswerIsInDoubtAndTheLookUpFindsIt(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{sim.FaultCommitHang, sim.FaultCommitDrop, sim.FaultCommitTruncate, sim.FaultCommitError} {
		for _, ignoreKey := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s key ignored %v", fault, ignoreKey), func(t *testing.T) {
				t.Parallel()
				erp, url := demoERP(t, func(c *sim.Config) {
					c.IgnoreKey = ignoreKey
					c.Faults.Next = []sim.NextFault{{Kind: fault, Method: "POST"}}
				})
				sink, _ := newSink(t, decode(t, "testdata/erp-sink.yaml", url, func(c *http.Config) {
					if fault == sim.FaultCommitHang {
						c.Timeout = 200 * time.Millisecond
					}
				}))
				e := event(t, "e1", progress("e1", "4", "0"))
				receipts, err := sink.Write(t.Context(), []pipeline.Event{e})
				mustBeInDoubt(t, receipts, err)
				receipt, found, err := sink.(pipeline.Lookuper).Lookup(t.Context(), e)
				if err != nil || !found || receipt.Document != "5000000001" {
					t.Errorf("the look-up says %+v %v %v", receipt, found, err)
				}
				if n := len(ledger(t, erp).Orders["1000001"].Partials); n != 1 {
					t.Errorf("%d effects", n)
				}
			})
		}
	}
}

// R1: nothing was done, so the look-up must say so for the lane to send again.
func TestAPostingThatNeverHappenedIsNotFound(t *testing.T) {
	t.Parallel()
	_, url := demoERP(t, func(c *sim.Config) {
		c.Faults.Next = []sim.NextFault{{Kind: sim.FaultDropBefore, Method: "POST"}}
	})
	sink, _ := newSink(t, decode(t, "testdata/erp-sink.yaml", url, nil))
	e := event(t, "e1", progress("e1", "4", "0"))
	receipts, err := sink.Write(t.Context(), []pipeline.Event{e})
	mustBeInDoubt(t, receipts, err)
	if _, found, err := sink.(pipeline.Lookuper).Lookup(t.Context(), e); found || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
	if receipts, err = sink.Write(t.Context(), []pipeline.Event{e}); err != nil || len(receipts) != 1 {
		t.Errorf("the second try: %v %v", receipts, err)
	}
}

// R1: the effect exists with another content; nobody but a person may decide.
func TestAnEffectWithAnotherContentIsAConflict(t *testing.T) {
	t.Parallel()
	_, url := demoERP(t, nil)
	sink, _ := newSink(t, decode(t, "testdata/erp-sink.yaml", url, nil))
	if _, err := sink.Write(t.Context(), []pipeline.Event{event(t, "e1", progress("e1", "4", "0"))}); err != nil {
		t.Fatal(err)
	}
	receipt, found, err := sink.(pipeline.Lookuper).Lookup(t.Context(), event(t, "e1", progress("e1", "5", "0")))
	conflict := new(pipeline.Conflict)
	if !errors.As(err, &conflict) || !found || receipt.Document != "" || conflict.Receipt.Document != "5000000001" {
		t.Errorf("got %+v %v %v", receipt, found, err)
	}
}

func TestA409IsDecidedByWhatExists(t *testing.T) {
	t.Parallel()
	erp, url := demoERP(t, func(c *sim.Config) { c.IgnoreKey = true })
	sink, _ := newSink(t, decode(t, "testdata/erp-sink.yaml", url, nil))
	final := event(t, "f1", completed("f1", "4", "4"))
	for i, e := range []pipeline.Event{final, final} {
		receipts, err := sink.Write(t.Context(), []pipeline.Event{e})
		if err != nil || receipts[0].Document != "5000000001" {
			t.Fatalf("posting %d of the same: %v %v", i, receipts, err)
		}
	}
	_, err := sink.Write(t.Context(), []pipeline.Event{event(t, "e9", progress("e9", "1", "0"))})
	reject := new(pipeline.Reject)
	if !errors.As(err, &reject) || reject.Code != "HTTP_409" || !strings.Contains(err.Error(), "finally confirmed") {
		t.Errorf("a posting after the final one: %v", err)
	}
	if books := ledger(t, erp); len(books.Duplicates) != 0 || len(books.Orders["1000001"].Finals) != 1 {
		t.Errorf("got %+v", books)
	}
}

// R1: a wrong password was refused before anything was done; a person must act.
func TestAWrongPasswordIsNotExecutedAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	_, url := demoERP(t, func(c *sim.Config) { c.Password = "another" })
	sink, host := newSink(t, decode(t, "testdata/erp-sink.yaml", url, nil))
	_, err := sink.Write(t.Context(), []pipeline.Event{event(t, "e1", progress("e1", "4", "0"))})
	mustBeNotExecuted(t, err)
	if got := host.status(); got.State != pipeline.Down || !strings.Contains(got.Reason, `user "plantloom"`) || !strings.Contains(got.Reason, "mend auth") {
		t.Errorf("status %+v", got)
	}
	if strings.Contains(err.Error(), "pw") {
		t.Errorf("the password shows: %v", err)
	}
}

func TestACorrectionIsAnEffectOfItsOwn(t *testing.T) {
	t.Parallel()
	erp, url := demoERP(t, nil)
	sink, _ := newSink(t, decode(t, "testdata/erp-sink.yaml", url, nil))
	first, second := event(t, "e1", progress("e1", "4", "0")), event(t, "e1", progress("e1", "5", "0"))
	second.Revision = 1
	if _, err := sink.Write(t.Context(), []pipeline.Event{first, second}); err != nil {
		t.Fatal(err)
	}
	partials := ledger(t, erp).Orders["1000001"].Partials
	if len(partials) != 2 || partials[0].ExternalID != "e1" || partials[1].ExternalID != "e1.1" {
		t.Errorf("got %+v", partials)
	}
}

// R1: a random mix of faults against an ERP that ignores keys, driven as a lane
// does it; in the end every effect exists exactly once.
func TestWithLookUpsEveryEffectIsBookedOnceWhateverGoesWrong(t *testing.T) {
	t.Parallel()
	erp, url := demoERP(t, func(c *sim.Config) {
		c.IgnoreKey = true
		c.MaxRun = 3 * time.Millisecond
		c.Faults = sim.Faults{Rate: 0.5, Seed: 42, Slow: time.Millisecond, Hang: time.Second, Kinds: []string{
			sim.FaultUnavailable, sim.FaultDropBefore, sim.FaultCommitDrop, sim.FaultCommitHang,
			sim.FaultCommitTruncate, sim.FaultCommitError, sim.FaultUnauthorised, sim.FaultSlow,
		}}
	})
	sink, _ := newSink(t, decode(t, "testdata/erp-sink.yaml", url, func(c *http.Config) { c.Timeout = 300 * time.Millisecond }))
	ids := []string{"e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "e9"}
	for _, id := range ids {
		deliver(t, sink, event(t, id, progress(id, "1", "0")))
	}
	var got []string
	for _, p := range ledger(t, erp).Orders["1000001"].Partials {
		got = append(got, p.ExternalID)
	}
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Error(diff)
	}
}

// deliver does what a lane does with one event: the faults of this test end
// before the client's time-out does, so looking up at once is settled enough.
func deliver(t *testing.T, sink pipeline.Sink, e pipeline.Event) {
	t.Helper()
	for range 100 {
		_, err := sink.Write(t.Context(), []pipeline.Event{e})
		if err == nil {
			return
		}
		if again := new(pipeline.NotExecuted); errors.As(err, &again) {
			continue
		}
		if reject := new(pipeline.Reject); errors.As(err, &reject) {
			t.Fatalf("%s: %v", e.ID, err)
		}
		for range 100 {
			_, found, err := sink.(pipeline.Lookuper).Lookup(t.Context(), e)
			if found && err == nil {
				return
			}
			if err == nil {
				break
			}
		}
	}
	t.Fatalf("%s was never delivered", e.ID)
}

func mustBeInDoubt(t *testing.T, receipts []pipeline.Receipt, err error) {
	t.Helper()
	reject, not := new(pipeline.Reject), new(pipeline.NotExecuted)
	if err == nil || len(receipts) != 0 || errors.As(err, &reject) || errors.As(err, &not) {
		t.Fatalf("got %v %v, want in doubt", receipts, err)
	}
}

func mustBeNotExecuted(t *testing.T, err error) {
	t.Helper()
	if not := new(pipeline.NotExecuted); !errors.As(err, &not) {
		t.Fatalf("got %v, want not executed", err)
	}
}

// ended is a context that is over.
func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
