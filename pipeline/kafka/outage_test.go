package kafka_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

// A broker that goes away and comes back on the same address with the same data.
func TestAnOutageIsOutlasted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := freePort(t)
	start := func() *kfake.Cluster {
		k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.DataDir(dir), kfake.SyncWrites())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := start()
	c := open(t, k, true, map[string]int{"a": 1})
	p := c.NewProducer(kafka.ProducerOptions{})
	if _, err := p.Produce(within(t, 10*time.Second), numbered("a", 0, 0, 3)); err != nil {
		t.Fatal(err)
	}
	f := c.NewFetcher("a", 0, 3, kafka.FetchOptions{})
	k.Close()
	done := make(chan error, 1)
	go func() {
		_, err := p.Produce(within(t, 40*time.Second), numbered("a", 0, 3, 3))
		done <- err
	}()
	read := make(chan []kafka.Record, 1)
	go func() {
		for {
			recs, err := f.Fetch(within(t, 40*time.Second))
			if err != nil || len(recs) > 0 {
				read <- recs
				return
			}
		}
	}()
	for p.Trouble() == nil || f.Trouble() == nil { // both say what is wrong while it lasts
		select {
		case err := <-done:
			t.Fatalf("produce returned %v without a broker", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := p.Trouble(); !strings.Contains(err.Error(), "nothing listens there") && !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("trouble: %v", err)
	}
	if err := c.Ping(within(t, 10*time.Second)); err == nil {
		t.Error("ping succeeds without a broker")
	}
	k = start()
	defer k.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := <-read; len(got) == 0 {
		t.Error("the fetcher did not come back")
	}
	if diff := cmp.Diff(numbers(0, 6), values(t, c, "a", 0)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if p.Trouble() != nil || f.Trouble() != nil {
		t.Errorf("trouble remains: %v, %v", p.Trouble(), f.Trouble())
	}
}

func TestACallerThatGivesUpDoesNotStopOthers(t *testing.T) {
	t.Parallel()
	k := cluster(t)
	c := open(t, k, false, map[string]int{"a": 1})
	p := c.NewProducer(kafka.ProducerOptions{})
	h := k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "a", Err: kerr.NotEnoughReplicas, Count: -1})
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	go func() {
		_, err := p.Produce(ctx, numbered("a", 0, 0, 1))
		first <- err
	}()
	if err := h.Wait(within(t, 10*time.Second), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want canceled", err)
	}
	h.Remove()
	if _, err := p.Produce(within(t, 20*time.Second), numbered("a", 0, 1, 1)); err != nil {
		t.Fatal(err)
	}
	// The first record was under way: it is written too, and before the second.
	if diff := cmp.Diff(numbers(0, 2), values(t, c, "a", 0)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
