package maptest

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/plantloom/plantloom/mapping"
)

// entry is what arrives at one instant of virtual time. Times count from the start of the test.
type entry struct {
	arrive    time.Duration
	order     int           // among entries of one instant
	step      *mapping.Step // nil: a heartbeat alone
	watermark time.Duration // of the heartbeat
}

const (
	beat  = time.Second // sources send a heartbeat so often (R10)
	beats = 5000        // at most so many in a test, for tests of many hours
	// heartbeatOrder sorts heartbeats behind the steps of their instant.
	heartbeatOrder = 1 << 30
)

// schedule lists what arrives, in order. Heartbeats come at the same instants whatever the seed, so that the watermark
// less the lateness never passes a sample that is not late in the file. stable is how long contexts wait to be stable.
func schedule(t *mapping.Test, stable time.Duration, seed uint64) []entry {
	var out []entry
	beatAt := map[time.Duration]bool{}
	random := rand.New(rand.NewPCG(seed, uint64(len(t.Given))))
	for i := range t.Given {
		s := &t.Given[i]
		beatAt[s.Arrive] = true
		e := entry{arrive: s.Arrive, order: i, step: s}
		if seed != 0 && movable(s) {
			// R10: arrival stays in front of the heartbeat whose watermark, less the lateness, passes the sample.
			e.arrive = s.At + time.Duration(random.Int64N(int64(lateness)))
		}
		out = append(out, e)
	}
	end := t.Duration()
	for at := time.Duration(0); at < end; at += max(beat, end/beats) {
		beatAt[at] = true
	}
	for at := range beatAt {
		out = append(out, entry{arrive: at, order: heartbeatOrder, watermark: at})
	}
	// The test's time runs to its last step: everything up to it is decided, also where contexts wait to be stable.
	last := end + lateness + stable + 1
	out = append(out, entry{arrive: last, order: heartbeatOrder, watermark: last})
	slices.SortFunc(out, func(a, b entry) int {
		if a.arrive != b.arrive {
			return int(min(1, max(-1, a.arrive-b.arrive)))
		}
		return a.order - b.order
	})
	return out
}

// movable says whether a step's samples may arrive at another time: they are not late, and nothing is with them that
// takes effect in the order of the log.
func movable(s *mapping.Step) bool {
	return len(s.Readings) > 0 && s.Order == nil && s.Reply == nil && !s.Restart && s.Arrive-s.At < lateness
}
