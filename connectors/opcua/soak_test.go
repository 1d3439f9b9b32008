package opcua_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/plantloom/plantloom/connectors/opcua"
	"github.com/plantloom/plantloom/internal/uaserver"
)

// R7: any sequence of faults leaves every value once and in its order, when the server has history.
func TestNothingIsLostOrRepeatedOverManyFaultsAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(string(rune('a'+seed)), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, newPlant(t, withHistory), func(c *opcua.Config) {
				c.SessionTimeout, c.Lifetime, c.QueueSize = 400*time.Millisecond, 600*time.Millisecond, 50
			})
			r.start()
			r.awaitTick(0)
			stop := r.run()
			rnd := rand.New(rand.NewPCG(1, seed))
			for range 25 {
				time.Sleep(time.Duration(rnd.IntN(150)) * time.Millisecond)
				r.fault(rnd)
			}
			r.srv.Inject(nil)
			r.awaitTick(r.plant.count() + 20)
			stop()
			r.awaitTick(r.plant.count())
			r.exact()
		})
	}
}

// fault does one thing that goes wrong in a plant.
func (r *rig) fault(rnd *rand.Rand) {
	once := func(service string, f uaserver.Fault) {
		var done bool
		r.srv.Inject(func(s string, _ int) *uaserver.Fault {
			if s != service || done {
				return nil
			}
			done = true
			return &f
		})
	}
	switch rnd.IntN(9) {
	case 0:
		r.srv.DropConnections()
	case 1:
		r.srv.Refuse(true)
		r.srv.DropConnections()
		time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond)
		r.srv.Refuse(false)
	case 2:
		r.crash()
		if rnd.IntN(2) == 0 {
			r.sink.forget()
		}
		r.start()
	case 3:
		r.stop()
		r.start()
	case 4:
		r.srv.ExpireSessions()
	case 5:
		r.sink.block()
		time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
		r.sink.unblock()
	case 6:
		r.sink.mu.Lock()
		r.sink.fail = errStore
		r.sink.mu.Unlock()
	case 7:
		once("Notification", uaserver.Fault{Withhold: true})
	case 8:
		once("Notification", uaserver.Fault{Lose: true})
	}
}
