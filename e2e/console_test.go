//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/plantloom/plantloom/e2e/servers"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

// A person opens the console and watches an order grow, without loading the page again.
func TestConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startAll(2, 0)
	w.awaitFinals(2, 0, 120*time.Second) // so that there is something to see
	order := w.awaitYoungOrder(60 * time.Second)

	good := fmt.Sprintf(`tr[data-order="%s"] .good`, order)
	seen := servers.Browse(t, servers.Page{
		URL: w.url("/"), Width: 1280, Height: 1100, Screenshot: *picture, Limit: 45 * time.Second,
		Wait: []servers.Seen{
			{Selector: "#verdict", Text: "[Rr]unning"},
			{Selector: "#live", Text: "live$"},
			{Selector: "#lines .card", Text: "L1"},
			{Selector: "#lines .card", Text: "L9"},
			{Selector: "#orders tr", Text: order},
			{Selector: "#orders tr", Text: "completed, final"},
			{Selector: "#quality tr", Text: "cap torque"},
			{Selector: "#components tr", Text: "source/line"},
			{Selector: good, Rises: true},
		},
	})
	if last := seen[len(seen)-1]; number(last.Text) <= last.From {
		t.Errorf("the good count of order %s went from %v to %s", order, last.From, last.Text)
	} else {
		t.Logf("the good count of order %s rose from %v to %s while the page stood open", order, last.From, last.Text)
	}
	if c := w.component("api"); c.GetState() != gatewayv1.ComponentState_COMPONENT_STATE_RUNNING {
		t.Errorf("the API is %v: %s", c.GetState(), c.GetReason())
	}
}

// awaitYoungOrder waits for an order that has just begun: its count has most of its way before it.
func (w *world) awaitYoungOrder(limit time.Duration) (id string) {
	w.t.Helper()
	until(w.t, limit, "an order has just begun", func() string {
		for _, o := range w.orders("state=RUNNING") {
			if number(o.GetReported().GetGood().GetValue()) < number(o.GetPlanned())/3 {
				id = o.GetOrderId()
				return ""
			}
		}
		return "none is running that is less than a third done"
	})
	return id
}
