package sim_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/examples/demo/erp/sim"
)

// world is an ERP behind a real HTTP server.
type world struct {
	t   *testing.T
	cfg sim.Config
	erp *sim.ERP
	srv *httptest.Server
}

func newWorld(t *testing.T, change func(*sim.Config)) *world {
	t.Helper()
	cfg := sim.Config{
		Dir: t.TempDir(), Password: "pw", Target: 10,
		Now: func() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) },
	}
	if change != nil {
		change(&cfg)
	}
	w := &world{t: t, cfg: cfg}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	erp, err := sim.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.erp, w.srv = erp, httptest.NewServer(erp.Handler())
}

func (w *world) stop() {
	if w.erp == nil {
		return
	}
	if err := w.erp.Close(); err != nil {
		w.t.Error(err)
	}
	w.srv.Close()
	w.erp = nil
}

// restart is a new process on the same directory.
func (w *world) restart() {
	w.stop()
	w.start()
}

// send makes one request on a connection of its own; status is 0 when no whole
// answer came.
func (w *world) send(method, path, body string, header ...string) (int, map[string]any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.srv.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.GetBody = nil // a replay by the transport would be a second request
	req.SetBasicAuth("plantloom", "pw")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if header := req.Header.Get("Test-User"); header != "" {
		user, password, _ := strings.Cut(header, ":")
		req.SetBasicAuth(user, password)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		w.t.Fatalf("%s %s answered %q: %v", method, path, text, err)
	}
	return resp.StatusCode, out
}

func (w *world) ledger() sim.Ledger {
	w.t.Helper()
	ledger, err := w.erp.Ledger()
	if err != nil {
		w.t.Fatal(err)
	}
	return ledger
}

// confirm is the body of a partial confirmation of L1's first order.
func confirm(id, yield, scrap string) string {
	return `{"external_id":"` + id + `","order":"1000001","operation":"0010","work_center":"L1","final":false,` +
		`"yield":"` + yield + `","scrap":"` + scrap + `","unit":"C62","from":"a","to":"b","occurred_at":"c"}`
}

func final(id, yield, scrap, totalYield, totalScrap string) string {
	body := strings.Replace(confirm(id, yield, scrap), `"final":false`, `"final":true`, 1)
	return strings.TrimSuffix(body, "}") + `,"total_yield":"` + totalYield + `","total_scrap":"` + totalScrap + `"}`
}

func errorCode(body map[string]any) string {
	e, _ := body["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

func TestPartialsAddUpAndTheFinalOneBooksTheDifferenceAsACorrection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, c := range []struct {
		body   string
		status int
	}{
		{confirm("e1", "4", "0"), 201},
		{confirm("e2", "0.1", "1"), 201},
		{confirm("e3", "0.2", "0"), 201},
		{final("e4", "3", "0", "7.5", "1"), 201},
		{confirm("e5", "1", "0"), 409},
	} {
		if status, body := w.send("POST", "/api/confirmations", c.body); status != c.status {
			t.Fatalf("%s: %d %v, want %d", c.body, status, body, c.status)
		}
	}
	account := w.ledger().Orders["1000001"]
	if len(account.Partials) != 3 || len(account.Finals) != 1 || account.Status != "CONFIRMED" {
		t.Errorf("got %d partials, %d finals, status %s", len(account.Partials), len(account.Finals), account.Status)
	}
	// 4 + 0.1 + 0.2 + 3 is 7.3 exactly; binary floats would make another correction.
	if diff := cmp.Diff([]sim.CorrectionLine{{Document: "5000000004", Yield: "0.2", Scrap: "0"}}, account.Corrections); diff != "" {
		t.Error(diff)
	}
	if account.SumYield != "7.5" || account.SumScrap != "1" {
		t.Errorf("sums are %s and %s", account.SumYield, account.SumScrap)
	}
	if ids := []string{account.Partials[0].ExternalID, account.Partials[2].ExternalID}; ids[0] != "e1" || ids[1] != "e3" {
		t.Errorf("partials are out of order: %v", ids)
	}
}

func TestTheNextOrderIsReleasedAfterTheFinalConfirmationOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *sim.Config) { c.Orders = 3 })
	_, first := w.send("GET", "/api/orders", "")
	if n := len(first["orders"].([]any)); n != 6 || first["next"] != "6" {
		t.Fatalf("got %d orders, next %v; want 2 per work centre", n, first["next"])
	}
	w.send("POST", "/api/confirmations", confirm("e1", "4", "0"))
	if _, none := w.send("GET", "/api/orders?since=6", ""); len(none["orders"].([]any)) != 0 || none["next"] != "6" {
		t.Errorf("a partial confirmation released %v", none)
	}
	w.send("POST", "/api/confirmations", final("e2", "6", "0", "10", "0"))
	w.restart()
	_, next := w.send("GET", "/api/orders?since=6&limit=5", "")
	orders := next["orders"].([]any)
	if len(orders) != 1 || orders[0].(map[string]any)["order"] != "1000003" || orders[0].(map[string]any)["version"] != 7.0 {
		t.Errorf("got %v", next)
	}
	if _, all := w.send("GET", "/api/orders?limit=2", ""); len(all["orders"].([]any)) != 2 || all["next"] != "3" {
		t.Errorf("a page of two begins with the oldest open orders, got %v", all["next"])
	}
}

func TestPaperOrdersOfL9AreKnownWithoutARelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	body := strings.NewReplacer("1000001", "9000001", `"L1"`, `"L9"`).Replace(final("p1", "39", "1", "39", "1"))
	if status, answer := w.send("POST", "/api/confirmations", body); status != 201 {
		t.Fatalf("%d %v", status, answer)
	}
	account := w.ledger().Orders["9000001"]
	if account.WorkCentre != "L9" || account.Status != "CONFIRMED" || account.SumYield != "39" {
		t.Errorf("got %+v", account)
	}
}

func TestAFailedDownloadIsReleasedAgainUnlessTheMachineRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	post := func(id, status, reason string) {
		t.Helper()
		body := `{"external_id":"` + id + `","status":"` + status + `","reason":"` + reason + `","at":"t"}`
		if got, answer := w.send("POST", "/api/orders/1000001/status", body); got != 201 {
			t.Fatalf("%d %v", got, answer)
		}
	}
	changed := func(since string) int {
		_, body := w.send("GET", "/api/orders?since="+since, "")
		return len(body["orders"].([]any))
	}
	post("d1", "DOWNLOAD_FAILED", "TIMEOUT")
	if changed("6") != 1 {
		t.Error("a timed-out download was not released again")
	}
	post("d2", "DOWNLOADED", "")
	post("d3", "DOWNLOAD_FAILED", "REFUSED")
	if changed("7") != 0 {
		t.Error("a refused download was released again")
	}
	if status, _ := w.send("POST", "/demo/orders/1000001/release", ""); status != 200 || changed("7") != 1 {
		t.Error("a person could not release it again")
	}
	if n := len(w.ledger().Orders["1000001"].Downloads); n != 3 {
		t.Errorf("%d status lines, want 3", n)
	}
}

func TestBadPostingsAreRefusedWithACode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	good := confirm("e1", "4", "0")
	for name, c := range map[string]struct {
		path, body string
		status     int
		code       string
	}{
		"a number that is no text":     {"confirmations", strings.Replace(good, `"yield":"4"`, `"yield":4`, 1), 400, "BAD_JSON"},
		"an unknown field":             {"confirmations", strings.Replace(good, `"from"`, `"form"`, 1), 400, "BAD_JSON"},
		"something after the object":   {"confirmations", good + good, 400, "BAD_JSON"},
		"no external id":               {"confirmations", confirm("", "4", "0"), 422, "NO_EXTERNAL_ID"},
		"an exponent":                  {"confirmations", confirm("e1", "4e1", "0"), 422, "BAD_AMOUNT"},
		"a negative amount":            {"confirmations", confirm("e1", "-4", "0"), 422, "BAD_AMOUNT"},
		"a final one without totals":   {"confirmations", final("e1", "4", "0", "", "0"), 422, "BAD_AMOUNT"},
		"an order that does not exist": {"confirmations", strings.Replace(good, "1000001", "1000009", 1), 422, "UNKNOWN_ORDER"},
		"another unit":                 {"confirmations", strings.Replace(good, "C62", "KGM", 1), 422, "WRONG_UNIT"},
		"another work centre":          {"confirmations", strings.Replace(good, `"L1"`, `"L2"`, 1), 422, "WRONG_WORK_CENTER"},
		"another operation":            {"confirmations", strings.Replace(good, "0010", "0020", 1), 422, "UNKNOWN_OPERATION"},
		"an inspection without serial": {"inspections", `{"external_id":"i1","verdict":"PASS"}`, 422, "NO_SERIAL"},
		"an unknown verdict":           {"inspections", `{"external_id":"i1","serial":"S1","verdict":"OK"}`, 422, "BAD_VERDICT"},
		"an unknown status":            {"orders/1000001/status", `{"external_id":"d1","status":"DONE"}`, 422, "BAD_STATUS"},
		"a path that does not exist":   {"nothing", `{}`, 404, "NO_SUCH_PATH"},
	} {
		if status, body := w.send("POST", "/api/"+c.path, c.body); status != c.status || errorCode(body) != c.code {
			t.Errorf("%s: %d %v, want %d %s", name, status, body, c.status, c.code)
		}
	}
	if n := len(w.ledger().Orders) + len(w.ledger().Inspections); n != 0 {
		t.Errorf("a refused posting was booked: %+v", w.ledger())
	}
}

func TestARepeatIsAnsweredFromStoreWhenTheKeyIsHonoured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, first := w.send("POST", "/api/confirmations", confirm("e1", "4", "0"), "Idempotency-Key", "k1")
	w.restart() // the stored answer survives
	for _, c := range []struct {
		name, body, key string
		status          int
	}{
		{"the same key and content", confirm("e1", "4", "0"), "k1", 201},
		{"the same key with another content", confirm("e1", "5", "0"), "k1", 422},
	} {
		status, again := w.send("POST", "/api/confirmations", c.body, "Idempotency-Key", c.key)
		if status != c.status || (status == 201 && !cmp.Equal(first, again)) {
			t.Errorf("%s: %d %v, want %d %v", c.name, status, again, c.status, first)
		}
	}
	w.send("POST", "/api/confirmations", confirm("e2", "1", "0"))
	if status, again := w.send("POST", "/api/confirmations", confirm("e2", "1", "0")); status != 201 || again["document"] != "5000000002" {
		t.Errorf("without a header the external id is the key; got %d %v", status, again)
	}
	ledger := w.ledger()
	if n := len(ledger.Orders["1000001"].Partials); n != 2 || len(ledger.Duplicates) != 0 {
		t.Errorf("%d effects, duplicates %v", n, ledger.Duplicates)
	}
}

func TestANaiveERPBooksARepeatTwiceAndTheLedgerSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *sim.Config) { c.IgnoreKey = true })
	for range 2 {
		w.send("POST", "/api/confirmations", confirm("e1", "4", "0"), "Idempotency-Key", "e1")
		w.send("POST", "/api/inspections", `{"external_id":"i1","serial":"S1","order":"1000001","verdict":"PASS","results":[]}`)
	}
	ledger := w.ledger()
	account := ledger.Orders["1000001"]
	if len(account.Partials) != 2 || account.SumYield != "8" || !cmp.Equal(account.Duplicates, []string{"e1"}) {
		t.Errorf("got %+v", account)
	}
	if diff := cmp.Diff([]string{"e1", "i1"}, ledger.Duplicates); diff != "" {
		t.Error(diff)
	}
	for _, kind := range []string{"confirmations?external_id=e1", "inspections?external_id=i1"} {
		if _, found := w.send("GET", "/api/"+kind, ""); len(found["items"].([]any)) != 2 {
			t.Errorf("the look-up of %s shows %v", kind, found)
		}
	}
}

func TestOnlyTheRightUserAndPasswordGetIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, login := range []string{"plantloom:no", "other:pw", ":", "plantloom:", "plantloom:pw "} {
		if status, body := w.send("GET", "/api/orders", "", "Test-User", login); status != 401 || errorCode(body) != "UNAUTHORIZED" {
			t.Errorf("%q: %d %v", login, status, body)
		}
	}
	journal, err := os.ReadFile(filepath.Join(w.cfg.Dir, "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(journal, []byte(`"UNAUTHORIZED"`)) || bytes.Contains(journal, []byte(`"pw`)) {
		t.Error("the journal lacks the refused requests or holds a password")
	}
}

func TestFaultsDoWhatTheirNamesSay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind   string
		status int
		booked bool
	}{
		{sim.FaultUnavailable, 503, false},
		{sim.FaultUnauthorised, 401, false},
		{sim.FaultDropBefore, 0, false},
		{sim.FaultRefuse, 422, false},
		{sim.FaultHang, 0, false},
		{sim.FaultSlow, 201, true},
		{sim.FaultCommitDrop, 0, true},
		{sim.FaultCommitHang, 0, true},
		{sim.FaultCommitTruncate, 0, true},
		{sim.FaultCommitError, 500, true},
	} {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			form := `{"slow":"1ms","hang":"1ms","next":[{"kind":"` + c.kind + `","method":"POST","path":"/api/conf"}]}`
			if status, body := w.send("POST", "/demo/faults", form); status != 200 {
				t.Fatalf("%d %v", status, body)
			}
			w.send("GET", "/api/orders", "") // is not what the fault waits for
			if status, _ := w.send("POST", "/api/confirmations", confirm("e1", "4", "0")); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			_, found := w.send("GET", "/api/confirmations?external_id=e1", "")
			if booked := len(found["items"].([]any)) == 1; booked != c.booked {
				t.Errorf("booked is %v, want %v", booked, c.booked)
			}
			if n := w.ledger().Faults[c.kind]; n != 1 {
				t.Errorf("the ledger counts %d faults", n)
			}
		})
	}
}

func TestEqualSeedsDrawEqualFaults(t *testing.T) {
	t.Parallel()
	draw := func(seed uint64, restart bool) []int {
		w := newWorld(t, func(c *sim.Config) {
			c.Faults = sim.Faults{Rate: 0.5, Seed: seed, Kinds: []string{sim.FaultUnavailable, sim.FaultCommitError}}
		})
		var out []int
		for i := range 30 {
			if restart && i == 15 {
				w.restart()
			}
			status, _ := w.send("POST", "/api/confirmations", confirm("e1", "4", "0"))
			out = append(out, status)
		}
		return out
	}
	one := draw(1, false)
	if diff := cmp.Diff(one, draw(1, true)); diff != "" {
		t.Error("the draw changed over a restart:", diff)
	}
	if cmp.Equal(one, draw(2, false)) {
		t.Error("another seed drew the same")
	}
}

func TestFaultFormIsTakenAsAWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, form := range []string{
		`{"honour_key":false,"rate":2}`, `{"honour_key":false,"kinds":["explode"]}`,
		`{"honour_key":false,"slow":"fast"}`, `{"honour_key":false,"colour":1}`,
	} {
		if status, body := w.send("POST", "/demo/faults", form); status != 400 {
			t.Errorf("%s: %d %v", form, status, body)
		}
	}
	if _, now := w.send("GET", "/demo/faults", ""); now["honour_key"] != true {
		t.Errorf("half of a bad form was taken: %v", now)
	}
}

func TestTheWorkGoesOnWhenTheClientHangsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *sim.Config) { c.MinRun = 50 * time.Millisecond })
	client := http.Client{Timeout: 10 * time.Millisecond}
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.srv.URL+"/api/confirmations", strings.NewReader(confirm("e1", "4", "0")))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("plantloom", "pw")
	if resp, err := client.Do(req); err == nil {
		resp.Body.Close()
		t.Fatal("the client did not give up")
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		_, found := w.send("GET", "/api/confirmations?external_id=e1", "")
		if len(found["items"].([]any)) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the effect never came")
		}
	}
}

func TestASecondProcessOnTheSameStateIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if erp, err := sim.New(w.cfg); err == nil {
		t.Error("two ERPs share a journal", errors.Join(erp.Close()))
	} else if !strings.Contains(err.Error(), "another simulated ERP") {
		t.Errorf("unclear: %v", err)
	}
}
