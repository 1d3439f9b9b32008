package broker

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// bounds returns the first and the next offset of partition 0.
func bounds(b *Broker, topic string) [2]int64 {
	p := b.cluster.PartitionInfo(topic, 0)
	return [2]int64{p.LogStartOffset, p.HighWatermark}
}

func sweep(t *testing.T, b *Broker) {
	t.Helper()
	if err := b.keeper.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// produceAt writes n records of the given time.
func produceAt(t *testing.T, cl *kgo.Client, topic string, n int, at time.Time) {
	t.Helper()
	for range n {
		r := &kgo.Record{Topic: topic, Value: []byte("v"), Timestamp: at}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRetentionByAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg := testConfig(t.TempDir())
	cfg.Now = func() time.Time { return now }
	cfg.Retention = []Retention{{Topics: "*.keep"}, {Topics: "plant.*", Age: time.Hour}}
	b := startBroker(t, cfg)
	cl := client(t, b.Addr())
	for _, topic := range []string{"plant.inbox", "plant.keep", "other", "plant.empty"} {
		createTopic(t, b.Addr(), topic, 1)
	}
	for _, topic := range []string{"plant.inbox", "plant.keep", "other"} {
		produceAt(t, cl, topic, 10, now.Add(-2*time.Hour))
		produceAt(t, cl, topic, 5, now.Add(-30*time.Minute))
	}
	sweep(t, b)
	got := map[string][2]int64{}
	for _, topic := range []string{"plant.inbox", "plant.keep", "other", "plant.empty"} {
		got[topic] = bounds(b, topic)
	}
	want := map[string][2]int64{"plant.inbox": {10, 15}, "plant.keep": {0, 15}, "other": {0, 15}, "plant.empty": {0, 0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("first and next offset (-want +got):\n%s", diff)
	}
}

// An emptied partition would begin at offset 0 after a restart, and a group
// that stands at 30 would miss the next 30 records.
func TestRetentionNeverEmptiesAPartitionSoThatOffsetsSurviveARestart(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg := testConfig(t.TempDir())
	cfg.Now = func() time.Time { return now }
	cfg.Retention = []Retention{{Topics: "*", Age: time.Hour}}
	b := startBroker(t, cfg)
	createTopic(t, b.Addr(), "t", 1)
	produceAt(t, client(t, b.Addr()), "t", 30, now.Add(-24*time.Hour))
	sweep(t, b)
	sweep(t, b)
	if got, want := bounds(b, "t"), [2]int64{29, 30}; got != want {
		t.Fatalf("after the sweep %v, want %v", got, want)
	}
	closeBroker(t, b)
	b = startBroker(t, cfg)
	if got, want := bounds(b, "t"), [2]int64{29, 30}; got != want {
		t.Errorf("after a clean restart %v, want %v", got, want)
	}
	b = startBroker(t, crash(t, b))
	produceAt(t, client(t, b.Addr()), "t", 1, now)
	if _, next := bounds(b, "t")[0], bounds(b, "t")[1]; next != 31 {
		t.Errorf("after a crash and one more record the next offset is %d, want 31", next)
	}
}

func TestRetentionByBytesDropsWholeFiles(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes = 2000
	cfg.Retention = []Retention{{Topics: "t", Bytes: 5000}}
	b := startBroker(t, cfg)
	createTopic(t, b.Addr(), "t", 1)
	cl := client(t, b.Addr(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	produce(t, cl, "t", slices.Repeat([]string{strings.Repeat("x", 400)}, 50)...)
	dir := partitionDir(dataDir(cfg.Dir), "t", 0)
	before := diskBytes(t, dir)
	sweep(t, b)
	after := diskBytes(t, dir)
	if before < 20000 || after < 5000 || after > 5000+2*2000+500 {
		t.Errorf("log files hold %d bytes before and %d after; want more than 20000, then 5000 and up to two files more", before, after)
	}
	if got := bounds(b, "t"); got[0] == 0 || got[1] != 50 {
		t.Errorf("first and next offset %v", got)
	}
}

func diskBytes(t *testing.T, dir string) (sum int64) {
	t.Helper()
	list, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		sum += s.size
	}
	return sum
}

func TestFirstKeptKeepsAtLeastTheLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, size := range map[string]int{"0.dat": 100, "100.dat": 100, "20.dat": 100, "300.dat": 10, "300.idx": 5000, "x.dat": 5000} {
		if err := os.WriteFile(dir+"/"+name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for limit, want := range map[int64]int64{1: 300, 10: 300, 11: 100, 110: 100, 111: 20, 210: 20, 211: 0, 310: 0, 9999: 0} {
		if got, err := firstKept(dir, limit); err != nil || got != want {
			t.Errorf("limit %d: first kept %d, %v; want %d", limit, got, err, want)
		}
	}
	if got, err := firstKept(dir+"/none", 1); err != nil || got != 0 {
		t.Errorf("without a directory: %d, %v", got, err)
	}
}

func TestATopicsOwnRetentionHoldsUnlessItIsCompacted(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg := testConfig(t.TempDir())
	cfg.Now = func() time.Time { return now }
	cfg.Retention = []Retention{{Topics: "ruled", Age: 72 * time.Hour}}
	b := startBroker(t, cfg)
	createTopic(t, b.Addr(), "own", 1, "retention.ms", "3600000")
	createTopic(t, b.Addr(), "ruled", 1, "retention.ms", "3600000")
	createTopic(t, b.Addr(), "forever", 1, "retention.ms", "-1", "retention.bytes", "-1")
	// R9: a compacted topic is never trimmed by time.
	createTopic(t, b.Addr(), "latest", 1, "retention.ms", "3600000", "cleanup.policy", "compact,delete")
	cl := client(t, b.Addr())
	got := map[string]int64{}
	for _, topic := range []string{"own", "ruled", "forever", "latest"} {
		produceAt(t, cl, topic, 5, now.Add(-48*time.Hour))
	}
	sweep(t, b)
	for _, topic := range []string{"own", "ruled", "forever", "latest"} {
		got[topic] = bounds(b, topic)[0]
	}
	if diff := cmp.Diff(map[string]int64{"own": 4, "ruled": 0, "forever": 0, "latest": 0}, got); diff != "" {
		t.Errorf("first offsets (-want +got):\n%s", diff)
	}
}

func TestAClientCannotEmptyAPartition(t *testing.T) {
	t.Parallel()
	b := startBroker(t, testConfig(t.TempDir()))
	createTopic(t, b.Addr(), "t", 1)
	createTopic(t, b.Addr(), "empty", 1)
	cl := client(t, b.Addr())
	produce(t, cl, "t", numbered("", 30)...)
	for _, c := range []struct {
		topic        string
		offset, want int64
	}{{"t", 10, 10}, {"t", 30, 29}, {"t", -1, 29}, {"empty", -1, 0}, {"empty", 0, 0}} {
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Offset = c.offset
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic, topic.Partitions = c.topic, append(topic.Partitions, p)
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Topics = append(req.Topics, topic)
		resp, err := req.RequestWith(context.Background(), cl)
		if err != nil {
			t.Fatal(err)
		}
		got := resp.Topics[0].Partitions[0]
		if got.ErrorCode != 0 || got.LowWatermark != c.want {
			t.Errorf("delete %s up to %d: code %d, low watermark %d, want %d", c.topic, c.offset, got.ErrorCode, got.LowWatermark, c.want)
		}
	}
}

func TestKeepOneNeverGoesBackwards(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ to, start, next, want int64 }{
		{5, 0, 10, 5}, {10, 0, 10, 9}, {99, 0, 10, 9}, {3, 9, 10, 9}, {10, 10, 10, 10}, {0, 0, 0, 0},
	} {
		p := &kfake.PartitionInfo{LogStartOffset: c.start, HighWatermark: c.next}
		if got := keepOne(c.to, p); got != c.want {
			t.Errorf("keepOne(%d) of [%d, %d) is %d, want %d", c.to, c.start, c.next, got, c.want)
		}
	}
}
