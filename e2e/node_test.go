//go:build e2e

package e2e

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/plantloom/plantloom/e2e/servers"
	"github.com/plantloom/plantloom/examples/crashlab"
	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
)

// The mapping files of the example on an OPC UA server of another maker, secured: the events are that server's truth.
// On the way there the certificate is not trusted and the password is wrong, and the other lines run on.
func TestNodeOPCUAGivesTheSameEvents(t *testing.T) {
	t.Parallel()
	s := servers.NodeOPCUA(t, servers.OPCUAOptions{Password: "right", Rate: 8, CapEvery: 5})
	w := newWorld(t, onNodeOPCUA(s))
	w.write("node.password", "wrong\n")
	w.startERP(password, 3)
	w.startPlant(3)
	w.startPlantloom()

	reason := w.awaitReason("source/node", "not trusted", 30*time.Second)
	trust(t, reason)
	reason = w.awaitReason("source/node", "(?i)password", 60*time.Second)
	contains(t, "the reason", reason, s.Endpoint, "plantloom")
	if strings.Contains(reason, "wrong\n") {
		t.Errorf("the reason shows the password: %s", reason)
	}
	w.awaitRunning("source/line", 20*time.Second)
	w.awaitFinals(1, 0, 60*time.Second) // of L2 or L3

	w.write("node.password", "right\n") // read anew at every try
	w.awaitRunning("source/node", 60*time.Second)
	until(t, 120*time.Second, "the third order of L1 is acknowledged", func() string {
		if n := countTruth(s, "order_acked"); n < 3 {
			return fmt.Sprintf("%d are; the server's truth: %+v", n, s.Truth())
		}
		return ""
	})
	w.awaitFinals(9, 0, 60*time.Second)
	_, books := w.agree(60*time.Second, func() map[string]crashlab.TrueResult { return resultsOf(s) })
	for _, e := range s.Truth() {
		if o := books.Orders[e.Order]; e.Event == "order_done" && (len(o.Finals) != 1 || o.SumYield != fmt.Sprint(e.Good) || o.SumScrap != fmt.Sprint(e.Scrap)) {
			t.Errorf("order %s: the ERP has %+v, the server made %d and %d", e.Order, o, e.Good, e.Scrap)
		}
	}
	sameEvents(t, w, s)
}

// resultsOf returns the caps of the server as the simulated plant's ledger would have them.
func resultsOf(s *servers.OPCUAServer) map[string]crashlab.TrueResult {
	out := map[string]crashlab.TrueResult{}
	for _, e := range s.Truth() {
		if e.Event != "result" {
			continue
		}
		r := crashlab.TrueResult{Line: e.Line, Quality: e.Quality}
		if e.Quality != "bad" {
			r.Torque = &e.Torque
		}
		out[e.Serial] = r
	}
	return out
}

func countTruth(s *servers.OPCUAServer, event string) (n int) {
	for _, e := range s.Truth() {
		if e.Event == event {
			n++
		}
	}
	return n
}

// trust does what the message tells a person to do.
func trust(t *testing.T, message string) {
	t.Helper()
	m := regexp.MustCompile(`move (\S+) to ([^\s;]+)`).FindStringSubmatch(message)
	if m == nil || !strings.Contains(m[1], "rejected") {
		t.Fatalf("the message does not say which file of rejected/ to move where: %s", message)
	}
	if err := os.Rename(m[1], filepath.Join(m[2], filepath.Base(m[1]))); err != nil {
		t.Fatal(err)
	}
}

// made is what the events of an order say.
type made struct {
	downloaded, started, completed int
	good, scrap                    float64 // sum of progress
	totalGood, totalScrap          float64 // of the final confirmation
	order                          []string
}

// sameEvents compares the events of L1 with the server's truth, order by order and cap by cap.
func sameEvents(t *testing.T, w *world, s *servers.OPCUAServer) {
	t.Helper()
	orders, caps := map[string]*made{}, map[string]*eventv1.QualityEvent{}
	for _, e := range w.eventsOf("filter.work_center=L1") {
		if q := e.GetQuality(); q != nil {
			serial := strings.Join(q.GetSerialNumbers(), ",")
			if caps[serial] != nil {
				t.Errorf("cap %s has two results", serial)
			}
			caps[serial] = q
			continue
		}
		p := e.GetProductionOrder()
		if orders[p.GetOrderId()] == nil {
			orders[p.GetOrderId()] = &made{}
		}
		orders[p.GetOrderId()].add(t, p)
	}
	var open string // the newest cap, which may still wait for its result
	for _, e := range s.Truth() {
		switch e.Event {
		case "order_done":
			o := orders[e.Order]
			if o == nil || o.downloaded != 1 || o.started != 1 || o.completed != 1 {
				t.Errorf("order %s: %+v, want one download, one start and one completion", e.Order, o)
				continue
			}
			if got, want := [4]float64{o.good, o.scrap, o.totalGood, o.totalScrap}, [4]float64{float64(e.Good), float64(e.Scrap), float64(e.Good), float64(e.Scrap)}; got != want {
				t.Errorf("order %s: good and scrap of progress and total are %v, the server's truth is %v", e.Order, got, want)
			}
			if n := len(o.order); o.order[n-1] != "COMPLETED" {
				t.Errorf("order %s: the events come in the order %v", e.Order, o.order)
			}
		case "result":
			if open != "" {
				t.Errorf("cap %s has no result, but cap %s was presented after it", open, e.Serial)
			}
			if open = e.Serial; caps[e.Serial] != nil {
				open = ""
				sameCap(t, e, caps[e.Serial])
				delete(caps, e.Serial)
			}
		}
	}
	for serial := range caps {
		t.Errorf("cap %s has a result, but the server never presented it", serial)
	}
	if len(orders) != 3 {
		t.Errorf("the events name %d orders, want 3", len(orders))
	}
}

func (m *made) add(t *testing.T, e *eventv1.ProductionOrderEvent) {
	t.Helper()
	kind := strings.TrimPrefix(e.GetType().String(), "PRODUCTION_ORDER_EVENT_TYPE_")
	m.order = append(m.order, kind)
	switch kind {
	case "DOWNLOADED":
		m.downloaded++
	case "DOWNLOAD_FAILED": // while the server was not reachable; the ERP released it again
		if m.downloaded+m.started > 0 {
			t.Errorf("order %s: a download failed after it had succeeded: %s", e.GetOrderId(), e.GetReasonCode())
		}
	case "STARTED":
		m.started++
	case "PROGRESS":
		m.good += number(e.GetDelta().GetGood().GetValue())
		m.scrap += number(e.GetDelta().GetScrap().GetValue())
	case "COMPLETED":
		m.completed++
		m.totalGood, m.totalScrap = number(e.GetCumulative().GetGood().GetValue()), number(e.GetCumulative().GetScrap().GetValue())
		if !e.GetFinalConfirmation() {
			t.Errorf("order %s is completed without a final confirmation", e.GetOrderId())
		}
	default:
		t.Errorf("order %s has an event of type %s", e.GetOrderId(), kind)
	}
}

// sameCap compares a result with what the server measured; the limits of the example pass every good cap.
func sameCap(t *testing.T, truth servers.Truth, q *eventv1.QualityEvent) {
	t.Helper()
	const newtonMetres = 0.1129848290276167 // of one pound-force inch
	want := fmt.Sprintf("PASS %.3f", math.Round(truth.Torque*newtonMetres*1000)/1000)
	if truth.Quality == "bad" {
		want = "NOT_DECIDABLE"
	}
	got := strings.TrimPrefix(q.GetVerdict().String(), "VERDICT_")
	if v := q.GetResults()[0].GetValue(); v != nil {
		got += " " + fmt.Sprintf("%.3f", number(v.GetDecimalValue())+v.GetDoubleValue())
	}
	if got != want || q.GetOrderId() != truth.Order {
		t.Errorf("cap %s of order %s: the event says %s of order %s, the server measured %s", truth.Serial, truth.Order, got, q.GetOrderId(), want)
	}
}
