package sim

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cockroachdb/apd/v3"
)

// Kinds of effect, which are also the last part of their path.
const (
	effectConfirmation = "confirmations"
	effectInspection   = "inspections"
	effectStatus       = "status"
)

// Effect is something the ERP booked.
type Effect struct {
	Document   string          `json:"document"`
	Kind       string          `json:"kind"`
	ExternalID string          `json:"external_id"`
	Key        string          `json:"key"`  // what a repeat is recognised by
	Hash       string          `json:"hash"` // of the body, to see a key used twice
	At         time.Time       `json:"at"`
	Order      string          `json:"order,omitempty"`
	Posting    json.RawMessage `json:"posting"` // as it came
	Correction *Correction     `json:"correction,omitempty"`
}

// Correction is the line that the ERP books when the totals of a final
// confirmation differ from what was posted before.
type Correction struct {
	Order string `json:"order"`
	Yield string `json:"yield"`
	Scrap string `json:"scrap"`
}

// confirmation is the body of POST /api/confirmations.
type confirmation struct {
	ExternalID string `json:"external_id"`
	Order      string `json:"order"`
	Operation  string `json:"operation"`
	WorkCentre string `json:"work_center"`
	Final      bool   `json:"final"`
	Yield      string `json:"yield"`
	Scrap      string `json:"scrap"`
	Unit       string `json:"unit"`
	TotalYield string `json:"total_yield"` // read in a final one only
	TotalScrap string `json:"total_scrap"`
	From       string `json:"from"`
	To         string `json:"to"`
	OccurredAt string `json:"occurred_at"`
}

// inspection is the body of POST /api/inspections.
type inspection struct {
	ExternalID string          `json:"external_id"`
	Serial     string          `json:"serial"`
	Order      string          `json:"order"`
	Verdict    string          `json:"verdict"`
	WorkCentre string          `json:"work_center"`
	OccurredAt string          `json:"occurred_at"`
	Results    json.RawMessage `json:"results"`
}

// statusReport is the body of POST /api/orders/{order}/status.
type statusReport struct {
	ExternalID string `json:"external_id"`
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	At         string `json:"at"`
}

// state is everything the ERP knows; it is a fold of apply over the journal.
type state struct {
	n          int64
	version    int64
	orders     map[string]*Order
	orderIDs   []string // in the order of their release
	releasedBy map[string]int
	openBy     map[string]int
	accounts   map[string]*account
	accountIDs []string
	effects    []*Effect
	byExternal map[string][]*Effect // kind + external id
	byKey      map[string]*stored   // kind + key; the first one stays
	requests   map[string]int64     // method route status
	faults     map[string]int64
	starts     int64
	served     int64 // requests under /api
}

// stored is the answer that a repeat gets.
type stored struct {
	hash   string
	answer answer
}

// account is what was booked on one order.
type account struct {
	effects      []*Effect
	yield, scrap apd.Decimal // sums of all effects and corrections
	final        bool
}

func newState() *state {
	return &state{
		orders: map[string]*Order{}, releasedBy: map[string]int{}, openBy: map[string]int{},
		accounts: map[string]*account{}, byExternal: map[string][]*Effect{}, byKey: map[string]*stored{},
		requests: map[string]int64{}, faults: map[string]int64{},
	}
}

// apply is the only place where the state changes: at start from the journal,
// later from the record that has just become durable.
func (s *state) apply(rec record) error {
	if rec.N != s.n+1 {
		return fmt.Errorf("record %d follows record %d", rec.N, s.n)
	}
	s.n = rec.N
	switch rec.Kind {
	case kindStart:
		s.starts++
	case kindRequest:
		s.served++
	}
	if rec.Fault != "" {
		s.faults[rec.Fault]++
	}
	if rec.Request != nil && rec.Answer != nil {
		s.requests[fmt.Sprintf("%s %s %d", rec.Request.Method, rec.Request.Route, rec.Answer.Status)]++
	}
	if rec.Effect != nil {
		if err := s.book(rec.Effect, *rec.Answer); err != nil {
			return err
		}
	}
	for _, o := range rec.Released {
		s.put(o)
	}
	return nil
}

// put takes an order in its newest version.
func (s *state) put(o Order) {
	if s.orders[o.Order] == nil {
		s.orderIDs = append(s.orderIDs, o.Order)
		s.releasedBy[o.WorkCentre]++
		s.openBy[o.WorkCentre]++
	}
	s.version = max(s.version, o.Version)
	s.orders[o.Order] = &o
}

// book adds an effect to its order, its look-up and its key.
func (s *state) book(eff *Effect, a answer) error {
	s.effects = append(s.effects, eff)
	id := eff.Kind + "\x00" + eff.ExternalID
	s.byExternal[id] = append(s.byExternal[id], eff)
	if key := eff.Kind + "\x00" + eff.Key; s.byKey[key] == nil {
		s.byKey[key] = &stored{hash: eff.Hash, answer: a}
	}
	if eff.Order == "" {
		return nil
	}
	acc := s.accounts[eff.Order]
	if acc == nil {
		acc = &account{}
		s.accounts[eff.Order] = acc
		s.accountIDs = append(s.accountIDs, eff.Order)
	}
	acc.effects = append(acc.effects, eff)
	switch eff.Kind {
	case effectConfirmation:
		return s.bookConfirmation(acc, eff)
	case effectStatus:
		return s.bookStatus(eff)
	}
	return nil
}

func (s *state) bookConfirmation(acc *account, eff *Effect) error {
	var c confirmation
	if err := json.Unmarshal(eff.Posting, &c); err != nil {
		return fmt.Errorf("reading confirmation %s: %w", eff.Document, err)
	}
	amounts := [][2]string{{c.Yield, c.Scrap}}
	if eff.Correction != nil {
		amounts = append(amounts, [2]string{eff.Correction.Yield, eff.Correction.Scrap})
	}
	for _, pair := range amounts {
		if err := addText(&acc.yield, pair[0]); err != nil {
			return fmt.Errorf("adding the yield of %s: %w", eff.Document, err)
		}
		if err := addText(&acc.scrap, pair[1]); err != nil {
			return fmt.Errorf("adding the scrap of %s: %w", eff.Document, err)
		}
	}
	if !c.Final {
		return nil
	}
	acc.final = true
	if o := s.orders[c.Order]; o != nil && o.Status != orderConfirmed {
		o.Status = orderConfirmed
		s.openBy[o.WorkCentre]--
	}
	return nil
}

func (s *state) bookStatus(eff *Effect) error {
	var r statusReport
	if err := json.Unmarshal(eff.Posting, &r); err != nil {
		return fmt.Errorf("reading status %s: %w", eff.Document, err)
	}
	o := s.orders[eff.Order]
	if o == nil || o.Status == orderConfirmed {
		return nil
	}
	switch {
	case r.Status == statusDownloaded:
		o.Status = orderDownloaded
	case r.Reason == reasonRefused:
		o.Status = orderRefused
	}
	return nil
}

// decimals is exact for every amount that parseAmount lets in.
func decimals() *apd.Context { return apd.BaseContext.WithPrecision(60) }

// addText adds decimal text to sum.
func addText(sum *apd.Decimal, text string) error {
	d, _, err := apd.NewFromString(text)
	if err != nil {
		return fmt.Errorf("reading %q: %w", text, err)
	}
	_, err = decimals().Add(sum, sum, d)
	return err
}

// plain is canonical decimal text without an exponent and trailing zeros.
func plain(d *apd.Decimal) string {
	var r apd.Decimal
	r.Reduce(d)
	return r.Text('f')
}
