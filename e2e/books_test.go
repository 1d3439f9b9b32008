//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/plantloom/plantloom/examples/crashlab"
)

// books asks the simulated ERP for its ledger.
func (w *world) books() (*crashlab.Books, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr(w.ports.erp)+"/demo/ledger", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the ERP: %w", err)
	}
	defer res.Body.Close()
	b := &crashlab.Books{}
	if err := json.NewDecoder(res.Body).Decode(b); err != nil {
		return nil, fmt.Errorf("reading the ERP's ledger: %w", err)
	}
	return b, nil
}

// truth reads the simulated plant's ledger.
func (w *world) truth() *crashlab.Truth {
	w.t.Helper()
	truth, err := crashlab.ReadTruth(w.path("plant/ledger.jsonl"))
	if err != nil {
		w.t.Fatal(err)
	}
	return truth
}

// finals returns the orders with a final confirmation: those of the OPC UA lines, and those of line L9, whose paper list
// begins at 9000001.
func finals(b *crashlab.Books) (opcua, paper []string) {
	for id, o := range b.Orders {
		switch {
		case len(o.Finals) == 0:
		case strings.HasPrefix(id, "9"):
			paper = append(paper, id)
		default:
			opcua = append(opcua, id)
		}
	}
	return opcua, paper
}

// awaitFinals waits until the ERP has so many final confirmations.
func (w *world) awaitFinals(opcua, paper int, limit time.Duration) {
	w.t.Helper()
	until(w.t, limit, fmt.Sprintf("%d orders of OPC UA lines and %d of L9 are finally confirmed", opcua, paper), func() string {
		b, err := w.books()
		if err != nil {
			return err.Error()
		}
		if o, p := finals(b); len(o) < opcua || len(p) < paper {
			return fmt.Sprintf("the ERP has %v and %v", o, p)
		}
		return ""
	})
}

// agree waits until all that the plant had finished when it was called is in the ERP's books, and fails on every
// difference between the two. The plant goes on meanwhile. elsewhere gives the results of machines that the simulated
// plant's ledger does not know; it may be nil.
func (w *world) agree(limit time.Duration, elsewhere func() map[string]crashlab.TrueResult) (*crashlab.Truth, *crashlab.Books) {
	w.t.Helper()
	truth := w.truth()
	var books *crashlab.Books
	until(w.t, limit, fmt.Sprintf("%d orders and %d results are in the ERP", len(truth.Orders), len(truth.Results)), func() string {
		var err error
		if books, err = w.books(); err != nil {
			return err.Error()
		}
		return strings.Join(truth.Missing(books), ", ")
	})
	// The books may hold results that are younger than truth: they must be true, but need not be complete.
	younger := w.truth().Results
	if elsewhere != nil {
		maps.Copy(younger, elsewhere())
	}
	for serial, r := range younger {
		if _, known := truth.Results[serial]; !known {
			r.Acked = false
			truth.Results[serial] = r
		}
	}
	for _, d := range truth.Compare(books) {
		w.t.Error(d)
	}
	return truth, books
}
