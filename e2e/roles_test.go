//go:build e2e

package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every role is a process of its own, with only Kafka between them: the books are as right as with one process.
func TestRolesApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startERP(password, 0)
	w.startPlant(3)
	roles := []string{"serve", "deliver", "map", "collect", "broker"} // the broker last: the others wait for it
	for _, role := range roles {
		w.startPlantloom(role)
	}
	w.awaitReady(40 * time.Second)
	until(t, 15*time.Second, "the status shows every process", func() string {
		var missing []string
		for _, role := range []string{"serve", "deliver", "map", "collect"} {
			if !slices.ContainsFunc(w.instances(), func(i string) bool { return strings.HasSuffix(i, "/"+role) }) {
				missing = append(missing, role)
			}
		}
		return strings.Join(missing, " ")
	})
	w.awaitFinals(3, 0, 90*time.Second)

	// One of them dies and comes again; nobody else notices.
	w.kill("plantloom-map")
	w.startPlantloom("map")
	done, _ := finals(w.mustBooks())
	w.awaitFinals(len(done)+2, 1, 120*time.Second)
	w.agree(60*time.Second, nil)
	if code, body := w.get("/readyz"); code != http.StatusOK {
		t.Errorf("not ready at the end: %d %s", code, body)
	}
	for _, role := range roles {
		w.stop("plantloom-" + role)
	}
}

// instances returns the processes that the status shows.
func (w *world) instances() (out []string) {
	w.t.Helper()
	for _, c := range w.status().GetComponents() {
		if !slices.Contains(out, c.GetInstance()) {
			out = append(out, c.GetInstance())
		}
	}
	return out
}
