package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxBody bounds a request's body in bytes.
const maxBody = 1 << 20

// Handler serves the ERP's API under /api, which needs the password, and the
// demo's own pages under /demo, which do not: the program listens on loopback
// only.
func (e *ERP) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", e.health)
	mux.HandleFunc("GET /api/orders", e.api("/api/orders", e.listOrders))
	mux.HandleFunc("POST /api/orders/{order}/status", e.api("/api/orders/{order}/status", e.postStatus))
	mux.HandleFunc("GET /api/orders/{order}/status", e.api("/api/orders/{order}/status", e.lookUp(effectStatus)))
	mux.HandleFunc("POST /api/confirmations", e.api("/api/confirmations", e.postConfirmation))
	mux.HandleFunc("GET /api/confirmations", e.api("/api/confirmations", e.lookUp(effectConfirmation)))
	mux.HandleFunc("POST /api/inspections", e.api("/api/inspections", e.postInspection))
	mux.HandleFunc("GET /api/inspections", e.api("/api/inspections", e.lookUp(effectInspection)))
	mux.HandleFunc("/api/", e.api("/api/", func(*call) decision {
		return refuse(http.StatusNotFound, "NO_SUCH_PATH", "the simulated ERP has no such path")
	}))
	e.demoPages(mux)
	return mux
}

// health is 503 once the journal cannot be written any more.
func (e *ERP) health(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	broken := e.journal.broken
	e.mu.Unlock()
	if broken != nil {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": broken.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
}

// call is one request on its way through the ERP.
type call struct {
	lot
	request *request
	http    *http.Request
	body    []byte
	refusal *answer // found before the work began
}

// decision is what the ERP makes of a call.
type decision struct {
	answer   answer
	effect   *Effect
	released []Order
}

// api wraps an endpoint with authentication, faults, the processing time and
// the journal. decide runs under the ERP's lock and only reads the state.
func (e *ERP) api(route string, decide func(*call) decision) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := e.receive(route, w, r)
		d, err := e.process(c, decide)
		if err != nil {
			d.answer = refuse(http.StatusInternalServerError, "JOURNAL", err.Error()).answer
			c.fault = ""
		}
		e.reply(w, c, d.answer)
	}
}

// receive reads the request and finds what refuses it before any work.
func (e *ERP) receive(route string, w http.ResponseWriter, r *http.Request) *call {
	user, password, _ := r.BasicAuth()
	c := &call{lot: e.draw(r), http: r, request: &request{
		Method: r.Method, Route: route, Path: r.URL.Path, Query: r.URL.RawQuery, User: user,
		UserAgent: r.UserAgent(), IdempotencyKey: r.Header.Get("Idempotency-Key"),
		ExternalID: r.URL.Query().Get("external_id"),
	}}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	c.body = body
	tooLarge := new(http.MaxBytesError)
	switch {
	case !e.authorised(user, password) || c.fault == FaultUnauthorised:
		c.refuse(http.StatusUnauthorized, "UNAUTHORIZED", "user or password is wrong")
	case c.fault == FaultUnavailable:
		c.refuse(http.StatusServiceUnavailable, "UNAVAILABLE", "the ERP is in maintenance; nothing was done")
	case errors.As(err, &tooLarge):
		c.refuse(http.StatusRequestEntityTooLarge, "TOO_LARGE", fmt.Sprintf("a body has at most %d bytes", maxBody))
	case err != nil:
		c.refuse(http.StatusBadRequest, "UNREADABLE", "the body could not be read")
	case c.fault == FaultRefuse:
		c.refuse(http.StatusUnprocessableEntity, "REFUSED", "the content is refused")
	case c.fault == FaultDropBefore || c.fault == FaultHang:
		c.refuse(0, "DROPPED", "connection closed before anything was done")
	}
	return c
}

func (c *call) refuse(status int, code, message string) {
	a := refuse(status, code, message).answer
	c.refusal = &a
}

// process works for the drawn time, whether the client still waits or not, and
// commits the outcome.
func (e *ERP) process(c *call, decide func(*call) decision) (decision, error) {
	if c.http.Method == http.MethodPost && c.refusal == nil {
		e.wait(c.run, nil)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var d decision
	if c.refusal != nil {
		d.answer = *c.refusal
	} else {
		d = decide(c)
	}
	err := e.commit(record{
		Kind: kindRequest, Request: c.request, Fault: c.fault, Effect: d.effect, Released: d.released, Answer: &d.answer,
	})
	return d, err
}

// wait returns after d, when the ERP closes, or when gone is closed.
func (e *ERP) wait(d time.Duration, gone <-chan struct{}) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-gone:
	case <-e.closed:
	}
}

// reply sends the answer, or does to it what the fault says. http.ErrAbortHandler
// makes net/http close the connection without another byte.
func (e *ERP) reply(w http.ResponseWriter, c *call, a answer) {
	switch c.fault {
	case FaultDropBefore, FaultCommitDrop:
		panic(http.ErrAbortHandler)
	case FaultCommitHang, FaultHang:
		e.wait(c.hang, c.http.Context().Done())
		panic(http.ErrAbortHandler)
	case FaultSlow:
		e.wait(c.slow, c.http.Context().Done())
	case FaultCommitError:
		a = refuse(http.StatusInternalServerError, "INTERNAL", "something went wrong after the commit").answer
	case FaultCommitTruncate:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
		w.WriteHeader(a.Status)
		_, _ = w.Write(a.Body[:len(a.Body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if a.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="demo ERP"`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}

// refuse is an answer in the ERP's error shape.
func refuse(status int, code, message string) decision {
	return accept(status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}

// accept is an answer with a body of plain values, which always encodes.
func accept(status int, body any) decision {
	text, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("encoding an answer: %v", err))
	}
	return decision{answer: answer{Status: status, Body: text}}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(body)
}
