package kafka_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

func TestAPositionOutsideTheLogIsAnErrorAndNeverASilentJump(t *testing.T) {
	t.Parallel()
	c := open(t, cluster(t), false, map[string]int{"a": 1})
	if _, err := c.NewProducer(kafka.ProducerOptions{}).Produce(within(t, 10*time.Second), numbered("a", 0, 0, 10)); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteRecords(within(t, 10*time.Second), "a", 0, 4); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		at   int64
		want *kafka.OutOfRange
		text string
	}{
		"retention overtook the reader": {2, &kafka.OutOfRange{Topic: "a", Asked: 2, Start: 4, End: 10}, "deleted before they were read"},
		"the log was reset":             {30, &kafka.OutOfRange{Topic: "a", Asked: 30, Start: 4, End: 10}, "the log ends before it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := c.NewFetcher("a", 0, tc.at, kafka.FetchOptions{})
			_, err := f.Fetch(within(t, 10*time.Second))
			var got *kafka.OutOfRange
			if !errors.As(err, &got) {
				t.Fatalf("error %v, want *OutOfRange", err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if !strings.Contains(err.Error(), tc.text) {
				t.Errorf("text %q does not say %q", err, tc.text)
			}
			if f.Position() != tc.at || f.Trouble() == nil {
				t.Errorf("position %d, trouble %v", f.Position(), f.Trouble())
			}
			f.SkipTo(4)
			if recs, err := f.Fetch(within(t, 10*time.Second)); err != nil || len(recs) != 6 {
				t.Errorf("%d records, %v after the decision", len(recs), err)
			}
		})
	}
}

func TestAFetchAtTheEndWaitsAndReturnsNothing(t *testing.T) {
	t.Parallel()
	c := open(t, cluster(t), false, map[string]int{"a": 1})
	f := c.NewFetcher("a", 0, 0, kafka.FetchOptions{MaxWait: 50 * time.Millisecond})
	if recs, err := f.Fetch(within(t, 10*time.Second)); recs != nil || err != nil {
		t.Fatalf("%v, %v", recs, err)
	}
	got := make(chan []kafka.Record)
	go func() {
		recs, _ := c.NewFetcher("a", 0, 0, kafka.FetchOptions{}).Fetch(within(t, 10*time.Second))
		got <- recs
	}()
	if _, err := c.NewProducer(kafka.ProducerOptions{}).Produce(within(t, 10*time.Second), numbered("a", 0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if recs := <-got; len(recs) != 1 {
		t.Errorf("%d records after they were written", len(recs))
	}
}

// Batches of another client, of every compression, are read.
func TestBatchesOfAnotherClientAreRead(t *testing.T) {
	t.Parallel()
	k := cluster(t)
	c := open(t, k, false, map[string]int{"a": 1})
	var want []string
	for i, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.DefaultProduceTopic("a"), kgo.ProducerBatchCompression(codec))
		if err != nil {
			t.Fatal(err)
		}
		var recs []*kgo.Record
		for j := range 100 {
			v := fmt.Sprintf("%d/%d %s", i, j, strings.Repeat("x", 100))
			want = append(want, v)
			recs = append(recs, kgo.StringRecord(v))
		}
		if err := cl.ProduceSync(within(t, 10*time.Second), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		cl.Close()
	}
	if diff := cmp.Diff(want, values(t, c, "a", 0)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// What we write is read by another client, and by its rules of partitioning.
func TestAnotherClientReadsOurBatchesAndAgreesOnPartitions(t *testing.T) {
	t.Parallel()
	k := cluster(t)
	c := open(t, k, false, map[string]int{"a": 7})
	var in []kafka.Record
	want := map[string]int32{}
	for i := range 300 {
		key := fmt.Sprintf("Werk/Halle-%d/Anlage-Ü%d", i%5, i)
		in = append(in, rec("a", -1, key, key))
		want[key] = c.PartitionFor("a", []byte(key))
	}
	x := openTxn(t, c, "id")
	if _, err := x.Commit(within(t, 10*time.Second), in); err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.ConsumeTopics("a"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	got := map[string]int32{}
	for len(got) < len(want) {
		f := cl.PollFetches(within(t, 10*time.Second))
		if f.Err() != nil {
			t.Fatal(f.Err())
		}
		f.EachRecord(func(r *kgo.Record) { got[string(r.Value)] = r.Partition })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
	part := kgo.StickyKeyPartitioner(nil).ForTopic("a")
	for key, p := range want {
		if n := part.Partition(&kgo.Record{Key: []byte(key)}, 7); n != int(p) {
			t.Errorf("key %s: partition %d, the other client says %d", key, p, n)
		}
	}
}

// Hashes from Apache Kafka's UtilsTest.testMurmur2.
func TestMurmur2IsJavas(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string":                       -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := kafka.Murmur2([]byte(s)); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

// A small batch that decompresses to half a gigabyte is refused with bounded memory, and can be stepped over.
//
// It is not parallel because it measures memory.
func TestADecompressionBombIsRefusedAndSteppedOver(t *testing.T) {
	k := cluster(t)
	c := open(t, k, false, map[string]int{"a": 1})
	p := c.NewProducer(kafka.ProducerOptions{})
	if _, err := p.Produce(within(t, 10*time.Second), numbered("a", 0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	raw := bomb(t, 512)
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.MaxVersions(kversion.V2_8_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 5000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "a"
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = raw
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(within(t, 10*time.Second), cl)
	if err != nil || res.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatal(err, res)
	}
	if _, err := p.Produce(within(t, 10*time.Second), numbered("a", 0, 2, 1)); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f := c.NewFetcher("a", 0, 0, kafka.FetchOptions{})
	recs, err := f.Fetch(within(t, 10*time.Second))
	if err != nil || len(recs) != 1 || f.Position() != 1 {
		t.Fatalf("%d records, position %d, %v: what is good in front comes first", len(recs), f.Position(), err)
	}
	_, err = f.Fetch(within(t, 10*time.Second))
	runtime.ReadMemStats(&after)
	var bad *kafka.Unreadable
	if !errors.As(err, &bad) || bad.Offset != 1 || bad.Next != 2 {
		t.Fatalf("error %v, want *Unreadable of offset 1", err)
	}
	if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; grown > 400 {
		t.Errorf("%d MiB were allocated", grown)
	}
	f.SkipTo(bad.Next)
	if recs, err := f.Fetch(within(t, 10*time.Second)); err != nil || len(recs) != 1 || string(recs[0].Value) != "2" {
		t.Errorf("%v, %v behind the bomb", recs, err)
	}
}

// bomb is one record of mib MiB of zeros as a compressed batch.
func bomb(t *testing.T, mib int) []byte {
	t.Helper()
	body := []byte{0, 0, 0}
	body = binary.AppendVarint(body, -1)
	body = binary.AppendVarint(body, int64(mib)<<20)
	head := binary.AppendVarint(nil, int64(len(body)+mib<<20+1))
	var z bytes.Buffer
	w, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for _, b := range append([][]byte{head, body}, bytesOf(zeros, mib)...) {
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	o := make([]byte, 61, 61+z.Len())
	binary.BigEndian.PutUint32(o[8:], uint32(49+z.Len()))
	o[16] = 2
	binary.BigEndian.PutUint16(o[21:], 4)
	binary.BigEndian.PutUint64(o[43:], ^uint64(0))
	binary.BigEndian.PutUint16(o[51:], 0xffff)
	binary.BigEndian.PutUint32(o[53:], 0xffffffff)
	binary.BigEndian.PutUint32(o[57:], 1)
	o = append(o, z.Bytes()...)
	binary.BigEndian.PutUint32(o[17:], crc32.Checksum(o[21:], crc32.MakeTable(crc32.Castagnoli)))
	return o
}

func bytesOf(b []byte, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}
