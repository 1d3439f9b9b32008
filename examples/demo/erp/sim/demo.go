package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// demoPages are for people and tests; none of them is recorded.
func (e *ERP) demoPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, 200, map[string]any{
			"demo": "a simulated ERP for Plantloom's examples; nothing here is a real system",
			"try":  []string{"/demo/ledger", "/demo/orders", "/demo/faults", "/healthz"},
		})
	})
	mux.HandleFunc("GET /demo/ledger", func(w http.ResponseWriter, r *http.Request) {
		ledger, err := e.Ledger()
		if err != nil {
			writeJSON(w, 500, map[string]string{"error": err.Error()})
			return
		}
		if id := r.URL.Query().Get("order"); id != "" {
			ledger.Orders = map[string]Account{id: ledger.Orders[id]}
			ledger.OrderIDs, ledger.Inspections = []string{id}, []InspectionLine{}
		}
		writeJSON(w, 200, ledger)
	})
	mux.HandleFunc("GET /demo/orders", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		orders := []Order{}
		for _, id := range e.state.orderIDs {
			orders = append(orders, *e.state.orders[id])
		}
		e.mu.Unlock()
		writeJSON(w, 200, map[string]any{"demo": true, "orders": orders})
	})
	mux.HandleFunc("POST /demo/orders/{order}/release", e.releaseAgain)
	mux.HandleFunc("GET /demo/faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, e.faultView()) })
	mux.HandleFunc("POST /demo/faults", e.setFaults)
}

// releaseAgain is the person who releases an order that a machine refused.
func (e *ERP) releaseAgain(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := e.state.orders[r.PathValue("order")]
	if o == nil || o.Status == orderConfirmed {
		writeJSON(w, 409, map[string]string{"error": "there is no such open order"})
		return
	}
	again := e.state.again(*o, e.now())
	if err := e.commit(record{Kind: kindRelease, Released: []Order{again}}); err != nil {
		writeJSON(w, 500, map[string]string{"error": err.Error()})
		return
	}
	writeJSON(w, 200, again)
}

// faultForm is the body of POST /demo/faults and the answer of GET. A field
// that is left out keeps its setting; next adds to what is planned.
type faultForm struct {
	HonourKey *bool       `json:"honour_key,omitempty"`
	Rate      *float64    `json:"rate,omitempty"`
	Seed      *uint64     `json:"seed,omitempty"`
	Kinds     []string    `json:"kinds,omitempty"`
	Slow      *string     `json:"slow,omitempty"` // durations such as "300ms"
	Hang      *string     `json:"hang,omitempty"`
	MinRun    *string     `json:"min_run,omitempty"`
	MaxRun    *string     `json:"max_run,omitempty"`
	Next      []NextFault `json:"next,omitempty"`
}

func (e *ERP) setFaults(w http.ResponseWriter, r *http.Request) {
	var form faultForm
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(&form)
	if err == nil {
		err = e.change(form)
	}
	if err != nil {
		writeJSON(w, 400, map[string]string{"error": err.Error()})
		return
	}
	writeJSON(w, 200, e.faultView())
}

// change takes the whole form or nothing of it.
func (e *ERP) change(form faultForm) error {
	e.settingsMu.Lock()
	defer e.settingsMu.Unlock()
	set := e.settings
	set.faults.Next = append([]NextFault{}, set.faults.Next...)
	assign(&set.faults.Rate, form.Rate)
	assign(&set.faults.Seed, form.Seed)
	if form.HonourKey != nil {
		set.ignoreKey = !*form.HonourKey
	}
	if form.Kinds != nil {
		set.faults.Kinds = form.Kinds
	}
	set.faults.Next = append(set.faults.Next, form.Next...)
	for _, d := range []struct {
		to   *time.Duration
		text *string
	}{{&set.faults.Slow, form.Slow}, {&set.faults.Hang, form.Hang}, {&set.minRun, form.MinRun}, {&set.maxRun, form.MaxRun}} {
		if d.text == nil {
			continue
		}
		value, err := time.ParseDuration(*d.text)
		if err != nil || value < 0 {
			return fmt.Errorf("%q is no duration such as \"300ms\"", *d.text)
		}
		*d.to = value
	}
	set.maxRun = max(set.maxRun, set.minRun)
	if err := set.faults.validate(); err != nil {
		return err
	}
	e.settings = set
	return nil
}

func assign[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (e *ERP) faultView() faultForm {
	e.settingsMu.Lock()
	defer e.settingsMu.Unlock()
	set := e.settings
	honour := !set.ignoreKey
	text := func(d time.Duration) *string { s := d.String(); return &s }
	return faultForm{
		HonourKey: &honour, Rate: &set.faults.Rate, Seed: &set.faults.Seed, Kinds: set.faults.Kinds,
		Slow: text(orDuration(set.faults.Slow, 300*time.Millisecond)), Hang: text(orDuration(set.faults.Hang, time.Minute)),
		MinRun: text(set.minRun), MaxRun: text(set.maxRun), Next: append([]NextFault{}, set.faults.Next...),
	}
}
