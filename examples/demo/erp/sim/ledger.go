package sim

import (
	"encoding/json"
	"fmt"
	"time"
)

// Ledger is what GET /demo/ledger shows: the effects per order and every
// duplicate. It is what a test compares with the truth of the plant.
type Ledger struct {
	Demo        bool               `json:"demo"` // always true: this is no real ERP
	HonourKey   bool               `json:"honour_key"`
	Starts      int64              `json:"starts"`
	Records     int64              `json:"records"`
	Requests    map[string]int64   `json:"requests"` // method route status -> count
	Faults      map[string]int64   `json:"faults"`
	Orders      map[string]Account `json:"orders"`
	OrderIDs    []string           `json:"order_ids"` // in the order of their first effect
	Inspections []InspectionLine   `json:"inspections"`
	Duplicates  []string           `json:"duplicates"` // external ids booked more than once, all kinds
}

// Account is what was booked on one order.
type Account struct {
	WorkCentre  string             `json:"work_center"`
	Status      string             `json:"status"`
	Partials    []ConfirmationLine `json:"partials"`
	Finals      []ConfirmationLine `json:"finals"`
	Corrections []CorrectionLine   `json:"corrections"`
	Downloads   []StatusLine       `json:"downloads"`
	SumYield    string             `json:"sum_yield"` // partials, finals and corrections
	SumScrap    string             `json:"sum_scrap"`
	Duplicates  []string           `json:"duplicates"` // external ids of confirmations and statuses
}

// ConfirmationLine is one booked confirmation.
type ConfirmationLine struct {
	Document   string    `json:"document"`
	ExternalID string    `json:"external_id"`
	Yield      string    `json:"yield"`
	Scrap      string    `json:"scrap"`
	TotalYield string    `json:"total_yield,omitempty"`
	TotalScrap string    `json:"total_scrap,omitempty"`
	From       string    `json:"from,omitempty"`
	To         string    `json:"to,omitempty"`
	OccurredAt string    `json:"occurred_at,omitempty"`
	At         time.Time `json:"at"`
}

// CorrectionLine is a difference that a final confirmation brought to light.
type CorrectionLine struct {
	Document string `json:"document"` // of the final confirmation
	Yield    string `json:"yield"`
	Scrap    string `json:"scrap"`
}

// StatusLine is what a machine made of a download.
type StatusLine struct {
	Document   string    `json:"document"`
	ExternalID string    `json:"external_id"`
	Status     string    `json:"status"`
	Reason     string    `json:"reason,omitempty"`
	At         time.Time `json:"at"`
}

// InspectionLine is one booked inspection result.
type InspectionLine struct {
	Document   string          `json:"document"`
	ExternalID string          `json:"external_id"`
	Serial     string          `json:"serial"`
	Order      string          `json:"order,omitempty"`
	Verdict    string          `json:"verdict"`
	Results    json.RawMessage `json:"results,omitempty"`
	At         time.Time       `json:"at"`
}

// Ledger returns the books as they are now.
func (e *ERP) Ledger() (Ledger, error) {
	e.settingsMu.Lock()
	honour := !e.settings.ignoreKey
	e.settingsMu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.ledger(honour)
}

func (s *state) ledger(honour bool) (Ledger, error) {
	out := Ledger{
		Demo: true, HonourKey: honour, Starts: s.starts, Records: s.n,
		Requests: clone(s.requests), Faults: clone(s.faults), Orders: map[string]Account{},
		OrderIDs: append([]string{}, s.accountIDs...), Inspections: []InspectionLine{}, Duplicates: []string{},
	}
	seen := map[string]int{}
	for _, eff := range s.effects {
		id := eff.Kind + "\x00" + eff.ExternalID
		if seen[id]++; seen[id] == 2 {
			out.Duplicates = append(out.Duplicates, eff.ExternalID)
		}
		if eff.Kind != effectInspection {
			continue
		}
		var in inspection
		if err := json.Unmarshal(eff.Posting, &in); err != nil {
			return out, fmt.Errorf("reading inspection %s: %w", eff.Document, err)
		}
		out.Inspections = append(out.Inspections, InspectionLine{
			eff.Document, eff.ExternalID, in.Serial, in.Order, in.Verdict, in.Results, eff.At,
		})
	}
	for id, acc := range s.accounts {
		line, err := s.account(id, acc)
		if err != nil {
			return out, err
		}
		out.Orders[id] = line
	}
	return out, nil
}

// account lists what was booked on one order, in order.
func (s *state) account(id string, acc *account) (Account, error) {
	o, _ := s.find(id)
	out := Account{
		WorkCentre: o.WorkCentre, Status: o.Status, Partials: []ConfirmationLine{}, Finals: []ConfirmationLine{},
		Corrections: []CorrectionLine{}, Downloads: []StatusLine{}, Duplicates: []string{},
		SumYield: plain(&acc.yield), SumScrap: plain(&acc.scrap),
	}
	if acc.final {
		out.Status = orderConfirmed // a paper order has no status of its own
	}
	seen := map[string]int{}
	for _, eff := range acc.effects {
		if eff.Kind == effectInspection {
			continue
		}
		if seen[eff.Kind+eff.ExternalID]++; seen[eff.Kind+eff.ExternalID] == 2 {
			out.Duplicates = append(out.Duplicates, eff.ExternalID)
		}
		if err := out.add(eff); err != nil {
			return out, fmt.Errorf("reading effect %s: %w", eff.Document, err)
		}
	}
	return out, nil
}

func (a *Account) add(eff *Effect) error {
	if eff.Kind == effectStatus {
		var r statusReport
		if err := json.Unmarshal(eff.Posting, &r); err != nil {
			return err
		}
		a.Downloads = append(a.Downloads, StatusLine{eff.Document, eff.ExternalID, r.Status, r.Reason, eff.At})
		return nil
	}
	var c confirmation
	if err := json.Unmarshal(eff.Posting, &c); err != nil {
		return err
	}
	line := ConfirmationLine{
		Document: eff.Document, ExternalID: eff.ExternalID, Yield: c.Yield, Scrap: c.Scrap,
		From: c.From, To: c.To, OccurredAt: c.OccurredAt, At: eff.At,
	}
	if !c.Final {
		a.Partials = append(a.Partials, line)
		return nil
	}
	line.TotalYield, line.TotalScrap = c.TotalYield, c.TotalScrap
	a.Finals = append(a.Finals, line)
	if eff.Correction != nil {
		a.Corrections = append(a.Corrections, CorrectionLine{eff.Document, eff.Correction.Yield, eff.Correction.Scrap})
	}
	return nil
}

func clone(m map[string]int64) map[string]int64 {
	out := make(map[string]int64, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
