package gateway

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

// R18: whatever a partition's log has come to, the view goes on with what is there, and says what is missing.
func TestAnErrorOfOnePartitionNeverEndsTheViews(t *testing.T) {
	t.Parallel()
	c := testClient(t)
	for name, tc := range map[string]struct {
		err     error
		at, end int64 // afterwards
		ready   string
		skipped uint64
	}{
		"retention overtook it":        {&kafka.OutOfRange{Asked: 7, Start: 9, End: 30}, 9, 20, "", 0},
		"the log was reset":            {&kafka.OutOfRange{Asked: 7, Start: 0, End: 3}, 0, 3, "", 0},
		"a batch that cannot be read":  {&kafka.Unreadable{Offset: 7, Next: 12, Err: errors.New("its checksum is wrong")}, 12, 20, "", 1},
		"access that the ACLs do deny": {errors.New("not authorized"), 7, 20, "not authorized", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newViews(Options{Client: c, Log: slog.New(slog.DiscardHandler), limits: limits{}.orDefault()})
			v.begin(0)
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // no waiting between two tries
			p := part{f: feed{topic: "order.v1"}, end: 20, fetcher: c.NewFetcher("t.order.v1", 0, 7, kafka.FetchOptions{})}
			v.mend(ctx, &p, tc.err)
			if p.fetcher.Position() != tc.at || p.end != tc.end || v.progress.skipped["order.v1"] != tc.skipped {
				t.Errorf("at %d, end %d, skipped %v", p.fetcher.Position(), p.end, v.progress.skipped)
			}
			if ready, why := v.ready(); ready != (tc.ready == "") || !strings.Contains(why, tc.ready) {
				t.Errorf("ready %v: %s", ready, why)
			}
		})
	}
}

func TestTheViewFollowsALogThatWasReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, fillEvents).ready()
	topic := w.client.Topic("event.production.v1")
	for _, do := range []func() error{
		func() error { return w.cluster.DeleteTopic(topic) },
		func() error { return w.cluster.CreateTopic(topic, partitions, nil) },
	} {
		eventually(t, "the topic is made anew", func() bool { return do() == nil })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	if _, err := w.open(w.cluster.ListenAddrs()).NewProducer(kafka.ProducerOptions{}).Produce(ctx, []kafka.Record{w.production("anew", 1, "STARTED", orderID("anew"))}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new event", func() bool { return w.order("anew") != nil })
	if w.order("o1") == nil {
		t.Error("what was in view is gone")
	}
	w.ready()
}
