package opcua_test

import (
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua"
	"github.com/plantloom/plantloom/internal/uaserver"
	"github.com/plantloom/plantloom/pipeline"
)

func withHistory(o *uaserver.Options) { o.History = &uaserver.MemoryHistory{} }

// R7: a repeat has the position that it had before, whatever happened in between.
func TestNothingIsLostOrRepeated(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		server func(*uaserver.Options)
		config func(*opcua.Config)
		fault  func(r *rig)
		count  string // must have happened
	}{
		"over a connection that is reset": {
			fault: func(r *rig) { r.srv.DropConnections() }, count: "sessions_reactivated",
		},
		"over an outage of 3 s": {
			fault: func(r *rig) {
				r.srv.Refuse(true)
				r.srv.DropConnections()
				time.Sleep(3 * time.Second)
				r.srv.Refuse(false)
			}, count: "sessions_reactivated",
		},
		"over a session that expired": {
			config: func(c *opcua.Config) { c.SessionTimeout = 300 * time.Millisecond },
			fault: func(r *rig) {
				r.srv.Refuse(true)
				r.srv.DropConnections()
				r.await("the session is gone", func() bool { return r.srv.Stats().Sessions == 0 })
				r.srv.Refuse(false)
			}, count: "subscriptions_transferred",
		},
		"over a subscription that expired, with history": {
			server: withHistory,
			config: func(c *opcua.Config) {
				c.SessionTimeout, c.Lifetime = 300*time.Millisecond, 600*time.Millisecond
			},
			fault: func(r *rig) {
				r.srv.Refuse(true)
				r.srv.DropConnections()
				r.await("the subscription is gone", func() bool { return r.srv.Stats().Subscriptions == 0 })
				r.srv.Refuse(false)
			}, count: "samples_backfilled",
		},
		"over a crash of ours": {
			fault: func(r *rig) {
				r.crash()
				r.start()
			}, count: "subscriptions_transferred",
		},
		"over a crash of ours with messages that were not durable": {
			fault: func(r *rig) {
				r.sink.block()
				calls := r.srv.Calls("Publish")
				r.await("messages arrived meanwhile", func() bool { return r.srv.Calls("Publish") > calls+5 })
				r.crash()
				r.sink.unblock()
				r.start()
			}, count: "messages_republished",
		},
		"over a stop and a start of ours": {
			fault: func(r *rig) {
				r.stop()
				time.Sleep(300 * time.Millisecond)
				r.start()
			}, count: "subscriptions_transferred",
		},
		"over a restart of the server, with history": {
			server: withHistory,
			fault: func(r *rig) {
				r.plant.mu.Lock()
				old := r.srv
				r.plant.mu.Unlock()
				if err := old.Close(); err != nil {
					r.t.Error(err)
				}
				r.boot()
			}, count: "samples_backfilled",
		},
		"while the sink is blocked for seconds": {
			fault: func(r *rig) {
				r.sink.block()
				time.Sleep(3 * time.Second)
				r.sink.unblock()
			}, count: "messages",
		},
		"when Emit fails": {
			fault: func(r *rig) {
				r.sink.mu.Lock()
				r.sink.fail = errStore
				r.sink.mu.Unlock()
				r.await("Run ended", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.errs) > 0 })
			}, count: "messages_republished",
		},
		"when a message is withheld": {
			fault: func(r *rig) {
				var once bool
				r.srv.Inject(func(service string, _ int) *uaserver.Fault {
					if service == "Notification" && !once {
						once = true
						return &uaserver.Fault{Withhold: true}
					}
					return nil
				})
			}, count: "messages_republished",
		},
		"when a message is lost, with history": {
			server: withHistory,
			fault: func(r *rig) {
				var once bool
				r.srv.Inject(func(service string, _ int) *uaserver.Fault {
					if service == "Notification" && !once {
						once = true
						return &uaserver.Fault{Lose: true}
					}
					return nil
				})
			}, count: "samples_backfilled",
		},
		"when answers overtake each other": {
			fault: func(r *rig) {
				r.srv.Inject(func(service string, n int) *uaserver.Fault {
					if service == "Publish" && n%3 == 0 {
						return &uaserver.Fault{Delay: 100 * time.Millisecond}
					}
					return nil
				})
				time.Sleep(time.Second)
				r.srv.Inject(nil)
			}, count: "messages",
		},
		"when the server ends the subscription, with history": {
			server: withHistory,
			fault: func(r *rig) {
				var once bool
				r.srv.Inject(func(service string, _ int) *uaserver.Fault {
					if service == "Notification" && !once {
						once = true
						return &uaserver.Fault{StatusChange: ua.StatusBadTimeout}
					}
					return nil
				})
			}, count: "samples_backfilled",
		},
		"when queues overflow, with history": {
			server: withHistory,
			config: func(c *opcua.Config) { c.QueueSize = 5 },
			fault: func(r *rig) {
				r.sink.block()
				r.await("nothing is asked for any more", func() bool { return r.srv.Stats().PublishRequests == 0 })
				full := r.plant.count() + 30
				r.await("the queues overflow", func() bool { return r.plant.count() > full && r.srv.Stats().PublishRequests == 0 })
				r.sink.unblock()
			}, count: "samples_backfilled",
		},
		"when the sequence number starts again at 1": {
			server: func(o *uaserver.Options) { o.Limits.FirstSequenceNumber = 4294967290 },
			fault: func(r *rig) {
				time.Sleep(500 * time.Millisecond)
				r.srv.DropConnections()
			}, count: "sessions_reactivated",
		},
		"when the server takes one publish request only": {
			server: func(o *uaserver.Options) { o.Limits.MaxPublishRequests = 1 },
			fault:  func(*rig) {}, count: "messages",
		},
		"when the server takes few operations per call": {
			server: func(o *uaserver.Options) {
				o.Limits.MaxMonitoredItemsPerCall, o.Limits.MaxNodesPerRead = 3, 1
			},
			fault: func(r *rig) { r.srv.DropConnections() }, count: "sessions_reactivated",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, newPlant(t, tc.server), tc.config)
			r.start()
			r.awaitTick(0)
			stop := r.run()
			r.awaitTick(r.plant.count() + 20)
			tc.fault(r)
			r.awaitTick(r.plant.count() + 40)
			stop()
			r.awaitTick(r.plant.count())
			r.exact()
			if r.counted(tc.count) == 0 {
				t.Errorf("%s was never counted", tc.count)
			}
		})
	}
}

// R11: samples of history come before the live samples that came meanwhile, in the order of time, and the watermark
// stands while the gap is open.
func TestAGapIsFilledInOrderAndTheWatermarkStands(t *testing.T) {
	t.Parallel()
	r := newRig(t, newPlant(t, withHistory), func(c *opcua.Config) {
		c.SessionTimeout, c.Lifetime = 300*time.Millisecond, 600*time.Millisecond
	})
	r.start()
	r.awaitTick(0)
	stop := r.run()
	r.awaitTick(50)
	r.srv.Refuse(true)
	r.srv.DropConnections()
	r.await("the subscription is gone", func() bool { return r.srv.Stats().Subscriptions == 0 })
	r.srv.Refuse(false)
	r.awaitTick(r.plant.count() + 20)
	stop()
	r.sink.mu.Lock()
	defer r.sink.mu.Unlock()
	var mark, at time.Time
	filling := 0
	for _, b := range r.sink.batches {
		if b.Watermark.Before(mark) {
			t.Errorf("the watermark runs back from %v to %v", mark, b.Watermark)
		}
		if b.State == pipeline.StateFilling {
			filling++
			if !b.Watermark.Equal(mark) {
				t.Errorf("the watermark moves to %v while a gap is open", b.Watermark)
			}
		}
		mark = b.Watermark
		for _, s := range b.Samples {
			if s.At.Before(at) && s.Flags&pipeline.FlagInitial == 0 {
				t.Fatalf("%s at %v comes after %v", s.Tag, s.At, at)
			}
			at = s.At
			if (s.Flags&pipeline.FlagHistorical != 0) != (s.Position == 0) {
				t.Errorf("a sample with flags %b has position %d", s.Flags, s.Position)
			}
		}
	}
	if filling == 0 {
		t.Error("no batch says that a gap is being filled")
	}
}

func TestWithoutHistoryEachAffectedTagSaysThatDataIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, newPlant(t, nil), func(c *opcua.Config) {
		c.SessionTimeout, c.Lifetime = 300*time.Millisecond, 600*time.Millisecond
	})
	r.start()
	r.awaitTick(0)
	r.tick()
	r.awaitTick(1)
	r.srv.Refuse(true)
	r.srv.DropConnections()
	r.await("the subscription is gone", func() bool { return r.srv.Stats().Subscriptions == 0 })
	quiet := r.vars[0]
	r.srv.Update(func(tx *uaserver.Tx) {
		for _, v := range r.vars[1:] {
			tx.Set(v, int64(3), ua.StatusOK, r.time(3))
		}
	})
	r.srv.Refuse(false)
	r.await("the other tags are there", func() bool {
		for _, tag := range r.tags[1:] {
			if s := r.sink.samples(tag.ID); len(s) == 0 || s[len(s)-1].Value.AsInt() != 3 {
				return false
			}
		}
		return true
	})
	for i, tag := range r.tags {
		lost := 0
		for _, s := range r.sink.samples(tag.ID) {
			if s.Quality == pipeline.BadDataLost {
				lost++
			}
		}
		if want := min(i, 1); lost != want { // tag 0 did not change
			t.Errorf("%s has %d marks of lost data, want %d", tag.ID, lost, want)
		}
	}
	_ = quiet
}

func TestAHalfOpenConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, newPlant(t, nil), nil)
	r.start()
	r.awaitTick(0)
	stop := r.run()
	r.awaitTick(10)
	r.srv.Freeze(true)
	began := time.Now()
	r.await("Run gave up", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.errs) > 0 })
	if took := time.Since(began); took > 4*time.Second { // twice the keep-alive of 200 ms, and a second
		t.Errorf("it took %v", took)
	}
	r.srv.Freeze(false)
	r.awaitTick(r.plant.count() + 20)
	stop()
	r.awaitTick(r.plant.count())
	r.exact()
}

// R10: a heartbeat leaves once a second, with the server's clock as the watermark, however quiet the tags are.
func TestAQuietServerStillMovesTheWatermark(t *testing.T) {
	t.Parallel()
	r := newRig(t, newPlant(t, nil), nil)
	began := time.Now()
	r.start()
	r.awaitTick(0)
	r.await("the watermark moved twice without samples", func() bool {
		r.sink.mu.Lock()
		defer r.sink.mu.Unlock()
		moved, mark := 0, time.Time{}
		for _, b := range r.sink.batches {
			if len(b.Samples) == 0 && b.Watermark.After(mark) && b.Watermark.After(began) {
				moved++
			}
			mark = b.Watermark
		}
		return moved >= 2
	})
}

func TestRunReturnsWithinASecondInEachState(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(r *rig){
		"idle":                       func(*rig) {},
		"with a blocked sink":        func(r *rig) { r.sink.block(); r.tick(); time.Sleep(100 * time.Millisecond) },
		"with a frozen connection":   func(r *rig) { r.srv.Freeze(true) },
		"while the server refuses":   func(r *rig) { r.srv.Refuse(true); r.srv.DropConnections() },
		"while the answer is frozen": func(r *rig) { r.srv.Freeze(true); time.Sleep(1600 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, newPlant(t, nil), nil)
			r.start()
			r.awaitTick(0)
			prepare(r)
			began := time.Now()
			r.cancel()
			<-r.ended
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
