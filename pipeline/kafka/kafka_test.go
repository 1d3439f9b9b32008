package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

func TestMain(m *testing.M) {
	// Connections whose caller has gone end within the fetch wait; goleak waits for them.
	goleak.VerifyTestMain(m)
}

// clock is an injected clock that stands still unless it is moved.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

func (c *clock) Now() time.Time { return time.UnixMilli(c.ms.Load()).UTC() }

// cluster starts a broker in the process.
func cluster(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	k, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func testLog(t testing.TB) *slog.Logger {
	if os.Getenv("KAFKA_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("test", t.Name())
}

// open returns a client with topics of the given names and partition counts.
func open(t testing.TB, k *kfake.Cluster, embedded bool, topics map[string]int) *kafka.Client {
	t.Helper()
	c, err := kafka.Open(kafka.Config{
		Brokers: k.ListenAddrs(), Namespace: "ns", Partitions: 3, Embedded: embedded, Now: newClock().Now, Log: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var specs []kafka.TopicSpec
	for name, n := range topics {
		specs = append(specs, kafka.TopicSpec{Name: name, Partitions: n})
	}
	if err := c.EnsureTopics(within(t, 20*time.Second), specs); err != nil {
		t.Fatal(err)
	}
	return c
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// values returns the values of every committed record of a partition.
func values(t testing.TB, c *kafka.Client, topic string, partition int32) []string {
	t.Helper()
	var out []string
	if _, err := c.ReadAll(within(t, 20*time.Second), topic, partition, 0, func(r kafka.Record) error {
		out = append(out, string(r.Value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func rec(topic string, partition int32, key, value string) kafka.Record {
	return kafka.Record{Topic: topic, Partition: partition, Key: []byte(key), Value: []byte(value)}
}

func numbered(topic string, partition int32, from, n int) []kafka.Record {
	var out []kafka.Record
	for i := from; i < from+n; i++ {
		out = append(out, rec(topic, partition, "k", fmt.Sprint(i)))
	}
	return out
}

func numbers(from, n int) []string {
	out := make([]string, 0, n)
	for i := from; i < from+n; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}
