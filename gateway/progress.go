package gateway

import (
	"fmt"
	"slices"
	"sync"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

// progress is how far the views are, and what is in their way.
type progress struct {
	mu       sync.Mutex
	building int               // partitions that have not reached the end that they had at the start
	trouble  map[string]string // what is wrong, by partition; "" is all of Kafka
	skipped  map[string]uint64 // records that could not be shown, by topic
}

func (v *views) begin(partitions int) {
	v.progress.mu.Lock()
	v.progress.building = partitions
	v.progress.mu.Unlock()
	v.wake()
}

func (v *views) caughtUp() {
	v.progress.mu.Lock()
	v.progress.building--
	v.progress.mu.Unlock()
	v.wake()
}

// say records what is wrong with a partition, "" that nothing is.
func (v *views) say(place, trouble string) {
	v.progress.mu.Lock()
	same := v.progress.trouble[place] == trouble
	if trouble == "" {
		delete(v.progress.trouble, place)
	} else {
		v.progress.trouble[place] = trouble
	}
	v.progress.mu.Unlock()
	if !same {
		v.wake()
	}
}

func (v *views) skip(topic string) {
	v.progress.mu.Lock()
	defer v.progress.mu.Unlock()
	v.progress.skipped[topic]++
}

func (v *views) wake() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// ready reports whether every view has caught up with what was there at the start and follows, and why not.
func (v *views) ready() (bool, string) {
	v.progress.mu.Lock()
	defer v.progress.mu.Unlock()
	places := make([]string, 0, len(v.progress.trouble))
	for p := range v.progress.trouble {
		places = append(places, p)
	}
	if len(places) > 0 {
		slices.Sort(places)
		return false, fmt.Sprintf("the topics cannot be read, what is shown may be old: %s", v.progress.trouble[places[0]])
	}
	if n := v.progress.building; n > 0 {
		return false, fmt.Sprintf("the views are being rebuilt, %d partitions to go", n)
	}
	return true, ""
}

// count adds what the views hold to a component's counters.
func (v *views) count(c *gatewayv1.Component) {
	v.mu.RLock()
	c.Counters["orders_in_view"], c.Counters["event_ids_in_view"] = float64(len(v.orders.byID)), float64(v.orders.facts)
	c.Counters["tags_in_view"], c.Counters["dead_letters_in_view"] = float64(len(v.tags)), float64(len(v.dead.list))
	c.Counters["tag_watchers"], c.Counters["late_events_ignored"] = float64(len(v.watch)), float64(v.orders.ignored)
	v.mu.RUnlock()
	v.progress.mu.Lock()
	defer v.progress.mu.Unlock()
	skipped := uint64(0)
	for _, n := range v.progress.skipped {
		skipped += n
	}
	c.Counters["records_skipped"] = float64(skipped)
}
