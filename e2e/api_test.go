//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

func (w *world) url(path string) string { return "http://" + addr(w.ports.http) + path }

// get asks the REST API; code is 0 when nobody answers.
func (w *world) get(path string) (code int, body string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url(path), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}

// fetch reads a message from the REST API.
func (w *world) fetch(path string, m proto.Message) {
	w.t.Helper()
	code, body := w.get(path)
	if code != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s", path, code, body)
	}
	if err := protojson.Unmarshal([]byte(body), m); err != nil {
		w.t.Fatalf("GET %s: %v", path, err)
	}
}

func (w *world) order(id string) *gatewayv1.OrderView {
	w.t.Helper()
	var o gatewayv1.GetOrderResponse
	w.fetch("/v1/orders/"+id, &o)
	return o.GetOrder()
}

func (w *world) orders(query string) []*gatewayv1.OrderView {
	w.t.Helper()
	var o gatewayv1.ListOrdersResponse
	w.fetch("/v1/orders?page_size=500&"+query, &o)
	return o.GetOrders()
}

func (w *world) deadLetters() []string {
	w.t.Helper()
	var d gatewayv1.ListDeadLettersResponse
	w.fetch("/v1/deadletters", &d)
	var out []string
	for _, l := range d.GetDeadLetters() {
		out = append(out, fmt.Sprintf("%s %s %s", l.GetStage(), l.GetCode(), l.GetReason()))
	}
	return out
}

func (w *world) awaitReady(limit time.Duration) {
	w.t.Helper()
	until(w.t, limit, "plantloom is ready", func() string {
		code, body := w.get("/readyz")
		if code == http.StatusOK {
			return ""
		}
		return fmt.Sprintf("%d %s", code, body)
	})
}

// status asks for the status; nil when nobody answers.
func (w *world) status() *gatewayv1.GetStatusResponse {
	w.t.Helper()
	var s gatewayv1.GetStatusResponse
	code, body := w.get("/v1/status")
	if code != http.StatusOK {
		return nil
	}
	if err := protojson.Unmarshal([]byte(body), &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}

func (w *world) component(name string) *gatewayv1.Component {
	w.t.Helper()
	for _, c := range w.status().GetComponents() {
		if c.GetName() == name {
			return c
		}
	}
	return nil
}

// awaitReason waits until a component gives a reason that matches, and returns it.
func (w *world) awaitReason(component, pattern string, limit time.Duration) string {
	w.t.Helper()
	re, reason := regexp.MustCompile(pattern), ""
	until(w.t, limit, fmt.Sprintf("%s says %q", component, pattern), func() string {
		c := w.component(component)
		if reason = c.GetReason(); re.MatchString(reason) {
			return ""
		}
		return fmt.Sprintf("%s: %s", c.GetState(), reason)
	})
	return reason
}

func (w *world) awaitRunning(component string, limit time.Duration) {
	w.t.Helper()
	until(w.t, limit, component+" runs", func() string {
		c := w.component(component)
		if c.GetState() == gatewayv1.ComponentState_COMPONENT_STATE_RUNNING {
			return ""
		}
		return fmt.Sprintf("%s: %s", c.GetState(), c.GetReason())
	})
}

// happened is an event as Server-Sent Events carry it.
type happened struct {
	id string // where to resume
	*gatewayv1.StreamEventsResponse
}

// events reads the stream of events until more returns false, or until nothing has come for the time quiet.
func (w *world) events(query, lastID string, quiet time.Duration, more func(happened) bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url("/v1/events?"+query), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if kind := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || kind != "text/event-stream" {
		w.t.Fatalf("GET /v1/events?%s: %s, %s", query, res.Status, kind)
	}
	silence := time.AfterFunc(quiet, cancel)
	defer silence.Stop()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for e := (happened{}); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "id":
			e.id = value
		case "event":
			if value == "error" || value == "problem" {
				w.t.Errorf("the stream of events ended with an error")
			}
		case "data":
			e.StreamEventsResponse = parseEvent(w.t, value)
			silence.Reset(quiet)
			if !more(e) {
				return
			}
			e = happened{}
		}
	}
}

func parseEvent(t *testing.T, text string) *gatewayv1.StreamEventsResponse {
	t.Helper()
	e := &gatewayv1.StreamEventsResponse{}
	if err := protojson.Unmarshal([]byte(text), e); err != nil {
		t.Fatalf("reading an event: %v: %s", err, text)
	}
	return e
}

// eventsOf returns all events that a query gives now.
func (w *world) eventsOf(query string) []happened {
	w.t.Helper()
	var all []happened
	w.events("from_start=true&"+query, "", 1500*time.Millisecond, func(e happened) bool {
		all = append(all, e)
		return true
	})
	return all
}
