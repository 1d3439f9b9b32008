//go:build e2e

package servers

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestApacheKafkaKeepsItsRecordsOverAKillAndAStop(t *testing.T) {
	dir := t.TempDir()
	k := timed(t, "Apache Kafka, first start", func() *KafkaServer { return Kafka(t, dir) })
	createTopic(t, k.Bootstrap, "t")
	produce(t, k.Bootstrap, "t", "before the kill")
	k.Kill()
	timed(t, "Apache Kafka, start after a kill", func() int { k.Restart(); return 0 })
	produce(t, k.Bootstrap, "t", "after the kill")
	k.Stop()
	k = timed(t, "Apache Kafka, start on the data of another", func() *KafkaServer { return Kafka(t, dir) })
	produce(t, k.Bootstrap, "t", "after the stop")
	out := timed(t, "kcat", func() string {
		return Kcat(t, "-b", k.Bootstrap, "-t", "t", "-C", "-e", "-q", "-o", "beginning")
	})
	want := "before the kill\nafter the kill\nafter the stop\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("what kcat reads (-want +got):\n%s", diff)
	}
}

func kafkaClient(t *testing.T, addr string) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopic(t *testing.T, addr, name string) {
	t.Helper()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), kafkaClient(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, addr, topic, value string) {
	t.Helper()
	r := &kgo.Record{Topic: topic, Value: []byte(value)}
	if err := kafkaClient(t, addr).ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func TestPostgresKeepsItsRowsOverAKillAndAStop(t *testing.T) {
	p := timed(t, "PostgreSQL, first start", func() *PostgresServer { return Postgres(t) })
	query := func(text string) (n int) {
		db, err := sql.Open("pgx", p.DSN)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRowContext(t.Context(), text).Scan(&n); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return n
	}
	if v := query("SELECT current_setting('server_version_num')::int"); v < 150000 || v >= 160000 {
		t.Errorf("version %d, want 15.x", v)
	}
	const insert = "INSERT INTO r SELECT count(*) + 1 FROM r RETURNING n"
	db, err := sql.Open("pgx", p.DSN)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE r (n int)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	query(insert)
	p.Kill()
	timed(t, "PostgreSQL, start after a kill", func() int { p.Restart(); return 0 })
	query(insert)
	p.Stop()
	timed(t, "PostgreSQL, start after a stop", func() int { p.Restart(); return 0 })
	if n := query(insert); n != 3 {
		t.Errorf("the third row is number %d", n)
	}
}

func TestChromiumSeesAPageChange(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<p id="a">waiting</p><p class="b" hidden>never</p>
			<script>setTimeout(() => document.getElementById("a").textContent = "order 4711 done", 300)</script>`)
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "page.png")
	page := Page{URL: srv.URL, Wait: []Seen{{Selector: "#a", Text: "waiting|done"}, {Selector: "p", Text: `order \d+ done`}}, Screenshot: file}
	Chromium(t)
	got := timed(t, "Chromium", func() []Seen { return Browse(t, page) })
	if len(got) != 2 || got[1] != (Seen{Selector: "p", Text: "order 4711 done"}) {
		t.Errorf("seen: %+v", got)
	}
	if text, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(text), "\x89PNG") {
		t.Errorf("screenshot: %v", err)
	}
}

func TestToolsReportWhatTheyPrint(t *testing.T) {
	if got := GRPCurl(t, "/bin/echo", "list"); got != "list\n" {
		t.Errorf("output %q", got)
	}
	_, err := try(context.Background(), toolLimit, "", "sh", "-c", "echo out; echo the reason >&2; exit 4")
	if err == nil || !strings.Contains(err.Error(), "exit status 4") || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("error %v", err)
	}
}

// timed runs fn and logs how long it took.
func timed[T any](t *testing.T, what string, fn func() T) T {
	t.Helper()
	began := time.Now()
	v := fn()
	t.Logf("%s: %.1f s", what, time.Since(began).Seconds())
	return v
}
