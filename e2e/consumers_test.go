//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plantloom/plantloom/e2e/servers"
	"github.com/plantloom/plantloom/internal/child"
)

// The embedded broker is a Kafka for everybody: a consumer group of another maker reads along and goes on where it
// stopped, and what foreigners write by mistake becomes a dead letter.
func TestKafkaConsumersOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startAll(3, 0)

	first := w.consume(8)
	garbage := w.path("garbage")
	if err := os.WriteFile(garbage, []byte("\xff\xff not what belongs here"), 0o600); err != nil {
		t.Fatal(err)
	}
	const asset = "demo/riverside/bottling/L1"
	servers.Kcat(t, "-b", addr(w.ports.kafka), "-P", "-t", "plantloom.inbox.v1", "-k", asset, garbage)
	until(t, 15*time.Second, "the foreign record is a dead letter", func() string {
		dead := w.deadLetters()
		for _, d := range dead {
			if strings.HasPrefix(d, "map RECORD_UNREADABLE") {
				return ""
			}
		}
		return strings.Join(dead, "; ")
	})
	done, _ := finals(w.mustBooks())
	second := w.consume(8)
	w.awaitFinals(len(done)+3, 1, 120*time.Second)
	w.agree(60*time.Second, nil)
	if got := w.deadLetters(); len(got) != 1 {
		t.Errorf("the dead letters are %v, want the foreign record alone", got)
	}

	// What the group had read, it does not get again.
	end := map[string]int{}
	for _, r := range first {
		end[r.partition] = max(end[r.partition], offset(t, r))
	}
	for _, r := range second {
		if last, seen := end[r.partition]; seen && offset(t, r) <= last {
			t.Errorf("partition %s: the group got offset %s again", r.partition, r.offset)
		}
	}
}

func offset(t *testing.T, r record) int {
	t.Helper()
	n, err := strconv.Atoi(r.offset)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// consume reads the events topic as a member of a consumer group until n records are there, and leaves the group.
func (w *world) consume(n int) []record {
	w.t.Helper()
	servers.Kcat(w.t, "-V") // installs it
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		w.t.Fatal(err)
	}
	var out output
	p, err := child.Start(child.Spec{Name: "kcat", Stdout: &out, Stderr: &out, Argv: []string{
		kcat, "-b", addr(w.ports.kafka), "-G", "outside", "-q", "-u", "-X", "auto.offset.reset=earliest", "-f", kcatFormat, "plantloom.event.production.v1",
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer p.Stop(10 * time.Second)
	until(w.t, 60*time.Second, "a consumer group reads "+strconv.Itoa(n)+" events", func() string {
		if got := strings.Count(out.String(), "\n"); got < n {
			return strconv.Itoa(got) + " events: " + out.String()
		}
		return ""
	})
	if !p.Stop(10 * time.Second) { // it commits its offsets and leaves the group
		w.t.Error("kcat did not leave its group")
	}
	return parseRecords(w.t, out.String())
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
