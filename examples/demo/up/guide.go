package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plantloom/plantloom/internal/wait"
)

// guide says where to look once the API answers, and announces the first final confirmation in the ERP.
func (d *demo) guide(ctx context.Context) error {
	began := time.Now()
	fmt.Printf("demo: starting a SIMULATED plant, a SIMULATED ERP and plantloom between them (logs in %s)\n", filepath.Join(d.dir, "log"))
	rest := fmt.Sprintf("http://127.0.0.1:%d", d.port(portREST))
	for {
		if _, err := get(ctx, rest+"/readyz"); err == nil {
			break
		}
		if !wait.For(ctx, 300*time.Millisecond) {
			return nil
		}
	}
	erp := fmt.Sprintf("http://127.0.0.1:%d", d.port(portERP))
	before := finals(ctx, erp)
	fmt.Printf(`demo: ready after %.0f s

  console          %s/
  orders           curl -s %s/v1/orders
  events, live     curl -sN '%s/v1/events?from_start=true'
  tags of a line   curl -s '%s/v1/tags?asset_path=demo/riverside/bottling/L1'
  status           bin/plantloom status --addr %s
  metrics, OpenAPI %s/metrics  %s/openapi.yaml
  ERP's ledger     curl -s %s/demo/ledger           (simulated ERP)
  Kafka            kcat -b 127.0.0.1:%d -t plantloom.event.production.v1 -C -f '%%k %%h\n'
  gRPC             grpcurl -plaintext 127.0.0.1:%d list

  Change a formula in %s, check it with `+"`bin/plantloom lint`"+` and `+"`bin/plantloom test`"+`, and start again.
  Ctrl-C stops everything.

`, time.Since(began).Seconds(), rest, rest, rest, rest, rest, rest, rest, erp, d.port(portKafka), d.port(portGRPC), d.example)
	for wait.For(ctx, time.Second) {
		if order, ok := newFinal(ctx, erp, before); ok {
			fmt.Printf("demo: after %.0f s the ERP has a final confirmation: order %s. Look at %s/demo/ledger\n", time.Since(began).Seconds(), order, erp)
			return nil
		}
	}
	return nil
}

// finals asks the simulated ERP's ledger for the orders that are finally confirmed, in the order of their first effect.
func finals(ctx context.Context, erp string) []string {
	body, err := get(ctx, erp+"/demo/ledger")
	if err != nil {
		return nil
	}
	var ledger struct {
		IDs    []string `json:"order_ids"`
		Orders map[string]struct {
			Finals []json.RawMessage `json:"finals"`
		} `json:"orders"`
	}
	if err := json.Unmarshal(body, &ledger); err != nil {
		return nil
	}
	var out []string
	for _, id := range ledger.IDs {
		if len(ledger.Orders[id].Finals) > 0 {
			out = append(out, id)
		}
	}
	return out
}

// newFinal returns an order that is finally confirmed now and was not before.
func newFinal(ctx context.Context, erp string, before []string) (string, bool) {
	for _, id := range finals(ctx, erp) {
		if !slices.Contains(before, id) {
			return id, true
		}
	}
	return "", false
}

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s", url, res.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}
