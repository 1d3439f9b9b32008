package http_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/connectors/http"
	"github.com/plantloom/plantloom/pipeline"
)

// simple is a sink with one route and a look-up.
const simple = `
url: URL
timeout: 5s
settle: 7s
routes:
  - event: ProductionOrderEvent
    path: /post/{e.order_id}
    body: {id: =effect_id}
    document: =answer.document
    lookup:
      path: /find?id={effect_id}
      found: =answer.found
      document: =answer.document
`

// peer serves handle and counts what came.
func peer(t *testing.T, handle nethttp.HandlerFunc) (string, *atomic.Int64) {
	t.Helper()
	var posts atomic.Int64
	server := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.Method != nethttp.MethodGet {
			posts.Add(1)
		}
		handle(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, &posts
}

func simpleSink(t *testing.T, url string, change func(*http.Config)) (pipeline.Sink, *testHost) {
	t.Helper()
	return newSink(t, decodeText(t, strings.Replace(simple, "URL", url, 1), change))
}

// R1: Go's transport repeats a POST that carries an Idempotency-Key when a kept
// connection is lost (delivery after commit, measured: two commits and no
// error). The sink's must not, with the key and without.
func TestALostConnectionAfterTheCommitIsOnePostOnTheWire(t *testing.T) {
	t.Parallel()
	withoutBody := strings.Replace(simple, "    body: {id: =effect_id}\n", "", 1)
	for _, c := range []struct {
		name, text  string
		idempotency http.Idempotency
		keys        []string
	}{
		{"without a key", simple, http.IdempotencyNone, []string{"", ""}},
		{"with a key", simple, http.IdempotencyHeader, []string{"e1", "e1"}},
		{"with a key and without a body", withoutBody, http.IdempotencyHeader, []string{"e1", "e1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			posts, keys := dropSecond(t, func(url string) {
				config := decodeText(t, strings.Replace(c.text, "URL", url, 1), func(o *http.Config) { o.Idempotency = c.idempotency })
				sink, _ := newSink(t, config)
				e := event(t, "e1", progress("e1", "1", "0"))
				if _, err := sink.Write(t.Context(), []pipeline.Event{e}); err != nil {
					t.Fatal(err)
				}
				receipts, err := sink.Write(t.Context(), []pipeline.Event{e})
				mustBeInDoubt(t, receipts, err)
			})
			if posts != 2 {
				t.Errorf("%d posts on the wire for two writes", posts)
			}
			if diff := cmp.Diff(c.keys, keys); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestGoRepeatsAPostWithAKey keeps the reason for the rule true: if Go ever
// stops doing this, the care in the client is still right but no longer needed.
func TestGoRepeatsAPostWithAKey(t *testing.T) {
	t.Parallel()
	posts, _ := dropSecond(t, func(url string) {
		client := &nethttp.Client{Transport: &nethttp.Transport{}}
		for range 2 {
			req, err := nethttp.NewRequestWithContext(t.Context(), nethttp.MethodPost, url, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Idempotency-Key", "k")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
	})
	if posts != 3 {
		t.Errorf("%d posts for two requests; the transport repeated %d", posts, posts-2)
	}
}

// dropSecond runs use against a raw server that answers every first request of
// a connection and closes it, without an answer, after the second was read
// whole. It returns how many posts were read, with their keys.
func dropSecond(t *testing.T, use func(url string)) (int, []string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var keys []string
	serve := func(conn net.Conn) {
		defer conn.Close()
		reader := bufio.NewReader(conn)
		for answered := false; ; answered = true {
			req, err := nethttp.ReadRequest(reader)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			mu.Lock()
			keys = append(keys, req.Header.Get("Idempotency-Key"))
			mu.Unlock()
			if answered {
				return
			}
			body := `{"document":"1"}`
			fmt.Fprintf(conn, "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { serve(conn) })
		}
	})
	use("http://" + listener.Addr().String())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return len(keys), append([]string{}, keys...)
}

// R1: nothing left this machine.
func TestAnERPThatIsAwayIsNotExecuted(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	sink, host := simpleSink(t, url, nil)
	_, err = sink.Write(t.Context(), []pipeline.Event{event(t, "e1", progress("e1", "1", "0"))})
	mustBeNotExecuted(t, err)
	if host.status().State != pipeline.Down || !strings.Contains(host.status().Reason, "refused") {
		t.Errorf("status %+v", host.status())
	}
	if _, _, err := sink.(pipeline.Lookuper).Lookup(t.Context(), event(t, "e1", progress("e1", "1", "0"))); err == nil {
		t.Error("a look-up that reached nobody proves nothing")
	}
	_, err = sink.Write(ended(t), []pipeline.Event{event(t, "e1", progress("e1", "1", "0"))})
	mustBeNotExecuted(t, err)
}

// R1: the certificate is checked before a byte of the request leaves.
func TestAnUntrustedCertificateIsNotExecutedAndTheCAFileMendsIt(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		fmt.Fprint(w, `{"document":"1"}`)
	}))
	server.Config.ErrorLog = newDiscardLog()
	server.StartTLS()
	t.Cleanup(server.Close)
	e := []pipeline.Event{event(t, "e1", progress("e1", "1", "0"))}
	sink, host := simpleSink(t, server.URL, nil)
	_, err := sink.Write(t.Context(), e)
	mustBeNotExecuted(t, err)
	if !strings.Contains(host.status().Reason, "tls.ca_file") {
		t.Errorf("status %+v", host.status())
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pemOf(server.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	sink, _ = simpleSink(t, server.URL, func(c *http.Config) { c.TLS.CAFile = file })
	if receipts, err := sink.Write(t.Context(), e); err != nil || receipts[0].Document != "1" {
		t.Errorf("with the CA file: %v %v", receipts, err)
	}
}

// answerCase is an answer of the peer and what it means.
type answerCase struct {
	status int
	body   string
	header string
	change func(*http.Config)
	want   string // done, reject, retry or doubt
}

func answerCases() []answerCase {
	return []answerCase{
		{status: 201, body: `{"document":"7"}`, want: "done 7"},
		{status: 200, body: `{"document":7}`, want: "done 7"},
		{status: 200, body: `<html>please log in</html>`, want: "doubt"},
		{status: 200, body: `{"result":null}`, want: "doubt"},
		{status: 200, body: `{"document":"7"} trailing`, want: "doubt"},
		{status: 204, want: "doubt"},
		{status: 400, want: "reject HTTP_400"},
		{status: 404, want: "reject HTTP_404"},
		{status: 405, want: "reject HTTP_405"},
		{status: 410, want: "reject HTTP_410"},
		{status: 413, want: "reject HTTP_413"},
		{status: 415, want: "reject HTTP_415"},
		{status: 417, want: "reject HTTP_417"},
		{status: 422, want: "reject HTTP_422"},
		{status: 401, want: "retry 0"},
		{status: 403, want: "retry 0"},
		{status: 403, header: "X-Csrf-Token: Required", want: "retry 0"},
		{status: 425, want: "retry 0"},
		{status: 429, header: "Retry-After: 17", want: "retry 17"},
		{status: 429, header: "Retry-After: Wed, 02 Jan 2030 03:05:05 GMT", want: "retry 60"},
		{status: 503, header: "Retry-After: 17", want: "doubt"},
		{status: 503, change: func(c *http.Config) { c.RejectsBeforeExecuting = true }, want: "retry 0"},
		{status: 423, want: "retry 0"},
		{status: 409, want: "reject HTTP_409"},
		{status: 412, want: "reject HTTP_412"},
		{status: 428, want: "reject HTTP_428"},
		{status: 408, want: "doubt"},
		{status: 500, want: "doubt"},
		{status: 502, want: "doubt"},
		{status: 504, want: "doubt"},
		{status: 418, want: "doubt"},
		{status: 201, body: `{"document":"7","pad":"` + strings.Repeat("x", 2000) + `"}`,
			change: func(c *http.Config) { c.MaxResponse = 1000 }, want: "doubt"},
	}
}

// R1: every status by its class.
func TestAnswersMeanWhatTheirStatusSays(t *testing.T) {
	t.Parallel()
	for _, c := range answerCases() {
		t.Run(fmt.Sprintf("%d %.20s want %s", c.status, c.body+c.header, c.want), func(t *testing.T) {
			t.Parallel()
			url, _ := peer(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				if r.Method == nethttp.MethodGet {
					fmt.Fprint(w, `{"found":false}`)
					return
				}
				if name, value, ok := strings.Cut(c.header, ": "); ok {
					w.Header().Set(name, value)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			sink, _ := simpleSink(t, url, c.change)
			receipts, err := sink.Write(t.Context(), []pipeline.Event{event(t, "e1", progress("e1", "1", "0"))})
			if got := inWords(receipts, err); got != c.want {
				t.Errorf("got %s (%v), want %s", got, err, c.want)
			}
		})
	}
}

// inWords names the three answers of R1, and success.
func inWords(receipts []pipeline.Receipt, err error) string {
	reject, not := new(pipeline.Reject), new(pipeline.NotExecuted)
	switch {
	case err == nil:
		return "done " + receipts[0].Document
	case errors.As(err, &reject):
		return "reject " + reject.Code
	case errors.As(err, &not):
		return fmt.Sprintf("retry %d", not.RetryAfter)
	}
	return "doubt"
}

// R1: a rule of the route judges before the status does.
func TestRulesOfTheRouteComeFirst(t *testing.T) {
	t.Parallel()
	const rules = `
    classes:
      - {status: [200], when: =answer.error != nil, class: reject}
      - {status: [409], when: =answer.code == "EXISTS", class: done}
      - {status: [500], when: =text contains "locked by", class: retry}
      - {when: =answer.code == "ODD", class: in_doubt}
      - {when: =answer.code > 3, class: reject}
`
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, `{"error":["UserError"]}`, "reject HTTP_200"},
		{200, `{"document":"7"}`, "doubt"}, // the last rule cannot compare nil with a number: nothing is proved
		{409, `{"code":"EXISTS","document":"7"}`, "done 7"},
		{500, `order locked by SMITH`, "retry 0"},
		{422, `{"code":"ODD"}`, "doubt"},
		{200, `{"code":1,"document":"8"}`, "done 8"},
		{400, `{"code":4}`, "reject HTTP_400"},
	} {
		t.Run(c.body, func(t *testing.T) {
			t.Parallel()
			url, _ := peer(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			sink, _ := newSink(t, decodeText(t, strings.Replace(simple+strings.TrimPrefix(rules, "\n"), "URL", url, 1), nil))
			receipts, err := sink.Write(t.Context(), []pipeline.Event{event(t, "e1", progress("e1", "1", "0"))})
			if got := inWords(receipts, err); got != c.want {
				t.Errorf("got %s (%v), want %s", got, err, c.want)
			}
		})
	}
}

// R1: a redirect is neither followed nor a proof.
func TestRedirectsAreNeverFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			elsewhere, _ := peer(t, func(nethttp.ResponseWriter, *nethttp.Request) { t.Error("another host was asked") })
			url, posts := peer(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
				w.Header().Set("Location", elsewhere+"/login")
				w.WriteHeader(status)
			})
			sink, host := simpleSink(t, url, nil)
			e := event(t, "e1", progress("e1", "1", "0"))
			receipts, err := sink.Write(t.Context(), []pipeline.Event{e})
			mustBeInDoubt(t, receipts, err)
			if !strings.Contains(host.status().Reason, "mend url or path") {
				t.Errorf("status %+v", host.status())
			}
			if _, found, err := sink.(pipeline.Lookuper).Lookup(t.Context(), e); found || err == nil {
				t.Errorf("the look-up followed: %v %v", found, err)
			}
			if posts.Load() != 1 {
				t.Errorf("%d posts", posts.Load())
			}
		})
	}
}

// R1: without a look-up the sink has no Lookup, so that a lane asks a person.
func TestASinkWithoutLookUpCannotBeAsked(t *testing.T) {
	t.Parallel()
	url, _ := peer(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.WriteHeader(map[string]int{"/post/1000001": 409, "/post/L": 423}[r.URL.Path])
	})
	text := strings.Replace(simple[:strings.Index(simple, "    lookup:")], "URL", url, 1)
	sink, _ := newSink(t, decodeText(t, text, nil))
	if _, can := sink.(pipeline.Lookuper); can {
		t.Error("it has a Lookup")
	}
	if settle := sink.(pipeline.Settler).Settle(); settle != 7*time.Second {
		t.Errorf("settle is %s", settle)
	}
	receipts, err := sink.Write(t.Context(), []pipeline.Event{event(t, "e1", progress("e1", "1", "0"))})
	mustBeInDoubt(t, receipts, err)
	locked := progress("e1", "1", "0")
	locked.OrderId = "L"
	_, err = sink.Write(t.Context(), []pipeline.Event{event(t, "e1", locked)})
	mustBeNotExecuted(t, err)
}

func TestAbsenceIsProvedByDeclaredStatusesOnly(t *testing.T) {
	t.Parallel()
	url, _ := peer(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) { w.WriteHeader(404) })
	e := event(t, "e1", progress("e1", "1", "0"))
	sink, _ := simpleSink(t, url, nil)
	if _, _, err := sink.(pipeline.Lookuper).Lookup(t.Context(), e); err == nil {
		t.Error("an undeclared 404 counted as absent; it may be a wrong path")
	}
	sink, _ = simpleSink(t, url, func(c *http.Config) { c.Routes[0].Lookup.AbsentStatus = []int{404} })
	if _, found, err := sink.(pipeline.Lookuper).Lookup(t.Context(), e); found || err != nil {
		t.Errorf("a declared one: %v %v", found, err)
	}
}

// everyLiteral is a route with all kinds of literals and formulas.
const everyLiteral = `
url: URL/base/
auth: {bearer: {token: file:password}}
idempotency: header
routes:
  - event: ProductionOrderEvent
    method: PUT
    path: /o/{e.order_id}/x?a={e.reason_text}&b={e.shift_id}
    body:
      zero: 0017
      quoted: "17"
      number: 17
      decimal: 12.50
      yes: yes
      truth: true
      nothing: null
      absent: =e.cumulative.good.value
      deep: [{x: =e.delta.good.value}, =e.cumulative.scrap, "=e.final_confirmation"]
      text: =e.reason_text
      level: =e.header.scope.level
      run: =e.header.labels
      half: =7 / 2
`

func TestPathsAndBodiesAreEscapedAndDecimalsStayText(t *testing.T) {
	t.Parallel()
	var got struct{ method, uri, body, login, key string }
	url, _ := peer(t, func(_ nethttp.ResponseWriter, r *nethttp.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got.method, got.uri, got.body = r.Method, r.RequestURI, string(body)
		got.login, got.key = r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key")
	})
	sink, _ := newSink(t, decodeText(t, strings.Replace(everyLiteral, "URL", url, 1), nil))
	e := progress("e1", "12.500", "0")
	e.OrderId, e.ReasonText = "a/b?c#d%", `<&="ä`
	e.Header.Labels = map[string]string{"b": "2", "a": "1"}
	receipts, err := sink.Write(t.Context(), []pipeline.Event{event(t, "e1", e)})
	if err != nil || receipts[0].Document != "" {
		t.Fatal(receipts, err)
	}
	if want := "/base/o/a%2Fb%3Fc%23d%25/x?a=%3C%26%3D%22%C3%A4&b="; got.uri != want || got.method != "PUT" {
		t.Errorf("%s %s, want %s", got.method, got.uri, want)
	}
	want := `{"zero":"0017","quoted":"17","number":17,"decimal":12.50,"yes":"yes","truth":true,"nothing":null,` +
		`"deep":[{"x":"12.500"},false],"text":"<&=\"ä","level":"UNSPECIFIED","run":{"a":"1","b":"2"},"half":3.5}`
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Error(diff)
	}
	if !json.Valid([]byte(got.body)) || got.login != "Bearer pw" || got.key != "e1" {
		t.Errorf("login %q key %q", got.login, got.key)
	}
}

func TestEventsThatCannotBeRenderedAreRejectedUnsent(t *testing.T) {
	t.Parallel()
	url, posts := peer(t, func(nethttp.ResponseWriter, *nethttp.Request) {})
	text := `
url: URL
routes:
  - event: ProductionOrderEvent
    types: [PROGRESS]
    path: /o/{e.order_id}
    body: {first: "=e.equipment_ids[0]"}
  - event: QualityEvent
    path: /q
    body: {mean: =1 / e.attempt}
`
	sink, _ := newSink(t, decodeText(t, strings.Replace(text, "URL", url, 1), nil))
	up := progress("e1", "1", "0")
	up.OrderId, up.EquipmentIds = "..", []string{"M1"}
	garbage := event(t, "e1", progress("e1", "1", "0"))
	garbage.Body = []byte{0xff}
	quality := event(t, "q1", progress("q1", "1", "0"))
	quality.Type, quality.Body = "QualityEvent", nil
	for name, c := range map[string]struct {
		e    pipeline.Event
		code string
	}{
		"an index out of range":     {event(t, "e1", progress("e1", "1", "0")), "BAD_FORMULA"},
		"a segment that walks up":   {event(t, "e1", up), "BAD_FORMULA"},
		"a division by zero":        {quality, "BAD_FORMULA"},
		"a body that is no message": {garbage, "BAD_EVENT"},
	} {
		_, err := sink.Write(t.Context(), []pipeline.Event{c.e})
		if reject := new(pipeline.Reject); !errors.As(err, &reject) || reject.Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if posts.Load() != 0 {
		t.Errorf("%d posts", posts.Load())
	}
}

func TestASecretThatIsMissingIsNotExecuted(t *testing.T) {
	t.Parallel()
	url, posts := peer(t, func(nethttp.ResponseWriter, *nethttp.Request) {})
	config := decode(t, "testdata/erp-sink.yaml", url, nil)
	config.Auth.Basic = nil
	other := decodeText(t, strings.Replace(simple, "URL", url+"\nauth: {bearer: {token: file:missing}}", 1), nil)
	sink, _ := newSink(t, other)
	_, err := sink.Write(t.Context(), []pipeline.Event{event(t, "e1", progress("e1", "1", "0"))})
	mustBeNotExecuted(t, err)
	if posts.Load() != 0 || !strings.Contains(err.Error(), "auth.bearer.token") {
		t.Errorf("%d posts, %v", posts.Load(), err)
	}
}

func TestWriteStopsAtTheFirstThatFails(t *testing.T) {
	t.Parallel()
	url, posts := peer(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(body, []byte("e2")) {
			w.WriteHeader(422)
		}
		fmt.Fprint(w, `{"document":"1"}`)
	})
	sink, _ := simpleSink(t, url, nil)
	var events []pipeline.Event
	for _, id := range []string{"e1", "e2", "e3"} {
		events = append(events, event(t, id, progress(id, "1", "0")))
	}
	receipts, err := sink.Write(t.Context(), events)
	if len(receipts) != 1 || inWords(nil, err) != "reject HTTP_422" || posts.Load() != 2 {
		t.Errorf("%v %v after %d posts", receipts, err, posts.Load())
	}
}

// R1: the end of the context in the middle of a request is in doubt.
func TestACancelInTheMiddleOfARequestIsInDoubt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	url, posts := peer(t, func(_ nethttp.ResponseWriter, r *nethttp.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	sink, _ := simpleSink(t, url, nil)
	receipts, err := sink.Write(ctx, []pipeline.Event{event(t, "e1", progress("e1", "1", "0"))})
	mustBeInDoubt(t, receipts, err)
	if posts.Load() != 1 {
		t.Errorf("%d posts", posts.Load())
	}
}
