//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plantloom/plantloom/e2e/servers"
	"github.com/plantloom/plantloom/examples/crashlab"
)

// The same spine on a real cluster: Apache Kafka with transactions, PostgreSQL behind the old line, and the broker
// killed in the middle.
func TestSpineOnApacheKafka(t *testing.T) {
	t.Parallel()
	kafka := servers.Kafka(t, t.TempDir())
	w := newWorld(t, onKafka(kafka.Bootstrap), onPostgres(servers.Postgres(t).DSN))
	w.startAll(3, 0)
	w.awaitFinals(1, 0, 90*time.Second)

	kafka.Kill()
	until(t, 20*time.Second, "the status says that Kafka is away", func() string {
		code, body := w.get("/readyz")
		if code == http.StatusServiceUnavailable && strings.Contains(body, kafka.Bootstrap) {
			return ""
		}
		return fmt.Sprintf("/readyz: %d %s", code, body)
	})
	kafka.Restart()
	w.awaitReady(40 * time.Second)
	began, _ := finals(w.mustBooks())
	w.awaitFinals(len(began)+2, 1, 90*time.Second)
	_, books := w.agree(60*time.Second, nil)

	t.Run("kcat reads every event once", func(t *testing.T) { kcatReads(t, kafka.Bootstrap, books) })
	order := firstFinal(t, books)
	t.Run("grpcurl finds, reads and resumes", func(t *testing.T) { grpcurl(t, w, order) })
	t.Run("REST says the same and Server-Sent Events resume", func(t *testing.T) { rest(t, w, kafka.Bootstrap, order) })
	if dead := w.deadLetters(); len(dead) > 0 {
		t.Errorf("dead letters: %v", dead)
	}
}

func (w *world) mustBooks() *crashlab.Books {
	w.t.Helper()
	b, err := w.books()
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// firstFinal returns an order of an OPC UA line that is finally confirmed.
func firstFinal(t *testing.T, b *crashlab.Books) string {
	t.Helper()
	orders, _ := finals(b)
	if len(orders) == 0 {
		t.Fatal("no order is finally confirmed")
	}
	slices.Sort(orders)
	return orders[0]
}

// record is a Kafka record as kcat prints it.
type record struct {
	key       string
	headers   map[string]string
	partition string
	offset    string
}

const kcatFormat = `%k\t%h\t%p\t%o\n`

func parseRecords(t *testing.T, text string) (out []record) {
	t.Helper()
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			t.Fatalf("kcat printed %q", line)
		}
		r := record{key: f[0], headers: map[string]string{}, partition: f[2], offset: f[3]}
		for h := range strings.SplitSeq(f[1], ",") {
			k, v, _ := strings.Cut(h, "=")
			r.headers[k] = v
		}
		out = append(out, r)
	}
	return out
}

// kcatEvents reads a topic to its present end.
func kcatEvents(t *testing.T, bootstrap, topic string) []record {
	t.Helper()
	return parseRecords(t, servers.Kcat(t, "-b", bootstrap, "-t", topic, "-C", "-e", "-q", "-o", "beginning", "-f", kcatFormat))
}

func kcatReads(t *testing.T, bootstrap string, books *crashlab.Books) {
	seen := map[string]bool{}
	for topic, kind := range map[string]string{
		"plantloom.event.production.v1": "plantloom.event.v1.ProductionOrderEvent", "plantloom.event.quality.v1": "plantloom.event.v1.QualityEvent",
	} {
		records := kcatEvents(t, bootstrap, topic)
		for _, r := range records {
			h := r.headers
			if r.key == "" || h["ce_subject"] != r.key || h["ce_type"] != kind || h["ce_specversion"] != "1.0" || h["content-type"] != "application/protobuf" {
				t.Errorf("%s has the record %+v", topic, r)
			}
			if _, err := time.Parse(time.RFC3339Nano, h["ce_time"]); err != nil || !strings.HasPrefix(h["ce_source"], "/demo/riverside/bottling/L") {
				t.Errorf("%s has the headers %v", topic, h)
			}
			if seen[h["ce_id"]] {
				t.Errorf("%s has event %s twice", topic, h["ce_id"])
			}
			seen[h["ce_id"]] = true
		}
		t.Logf("%s: %d events", topic, len(records))
	}
	for id, o := range books.Orders {
		for _, p := range append(slices.Clone(o.Partials), o.Finals...) {
			if !seen[p.ExternalID] {
				t.Errorf("order %s has the confirmation %s, which is no event", id, p.ExternalID)
			}
		}
	}
}
