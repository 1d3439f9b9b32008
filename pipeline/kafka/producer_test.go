package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

func TestRecordsComeBackAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	c := open(t, cluster(t), false, map[string]int{"a": 1})
	long := bytes.Repeat([]byte("0123456789"), 5000)
	for i, comp := range []kafka.Compression{kafka.LZ4, kafka.None, kafka.Snappy, kafka.Gzip, kafka.Zstd} {
		in := []kafka.Record{
			{Topic: "a", Key: []byte("k"), Value: []byte("v"), Headers: []kafka.Header{{Key: "h", Value: []byte("x")}, {Key: "empty", Value: []byte{}}, {Key: "nil"}}},
			{Topic: "a", Key: nil, Value: nil},
			{Topic: "a", Key: []byte{}, Value: long},
		}
		offsets, err := c.NewProducer(kafka.ProducerOptions{Compression: comp}).Produce(within(t, 10*time.Second), in)
		if err != nil {
			t.Fatal(err)
		}
		first := int64(i * len(in))
		if diff := cmp.Diff([]int64{first, first + 1, first + 2}, offsets); diff != "" {
			t.Errorf("offsets (-want +got):\n%s", diff)
		}
		var got []kafka.Record
		if _, err := c.ReadAll(within(t, 10*time.Second), "a", 0, first, func(r kafka.Record) error { got = append(got, r); return nil }); err != nil {
			t.Fatal(err)
		}
		for j := range in {
			in[j].Offset = first + int64(j)
			in[j].Time = newClock().Now() // R8: the produce time, from the injected clock
		}
		if diff := cmp.Diff(in, got); diff != "" {
			t.Errorf("compression %d (-want +got):\n%s", comp, diff)
		}
	}
}

func TestALostAcknowledgementMakesNoDuplicate(t *testing.T) {
	t.Parallel()
	k := cluster(t)
	c := open(t, k, false, map[string]int{"a": 1})
	p := c.NewProducer(kafka.ProducerOptions{})
	var want []string
	for i := range 20 {
		// REQUEST_TIMED_OUT: the records are appended and the answer is an error.
		h := k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "a", Err: kerr.RequestTimedOut, Count: 1 + i%2})
		offsets, err := p.Produce(within(t, 20*time.Second), numbered("a", 0, i*3, 3))
		if err != nil {
			t.Fatal(err)
		}
		if offsets[0] != int64(i*3) {
			t.Errorf("offset %d, want %d", offsets[0], i*3)
		}
		if h.Hits() == 0 {
			t.Error("the fault was not hit")
		}
		want = append(want, numbers(i*3, 3)...)
	}
	if diff := cmp.Diff(want, values(t, c, "a", 0)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if n := p.PossibleDuplicates(); n != 0 {
		t.Errorf("%d possible duplicates counted", n)
	}
}

func TestEveryPassingErrorOfABrokerIsOutlasted(t *testing.T) {
	t.Parallel()
	for _, e := range []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.UnknownServerError,
		kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable, kerr.ThrottlingQuotaExceeded, kerr.KafkaStorageError,
	} {
		t.Run(e.Message, func(t *testing.T) {
			t.Parallel()
			k := cluster(t)
			c := open(t, k, false, map[string]int{"a": 1})
			k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "a", Err: e, Count: 2})
			if _, err := c.NewProducer(kafka.ProducerOptions{}).Produce(within(t, 20*time.Second), numbered("a", 0, 0, 5)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(numbers(0, 5), values(t, c, "a", 0)); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

func TestABrokerThatForgotTheProducerGetsTheRecordsAgainAndTheyAreCounted(t *testing.T) {
	t.Parallel()
	for _, e := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID} {
		t.Run(e.Message, func(t *testing.T) {
			t.Parallel()
			k := cluster(t)
			c := open(t, k, false, map[string]int{"a": 1})
			p := c.NewProducer(kafka.ProducerOptions{})
			// One lost acknowledgement first: then the batch may be in the log already.
			k.Fault(
				kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "a", Err: kerr.RequestTimedOut},
				kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "a", Err: e})
			if _, err := p.Produce(within(t, 20*time.Second), numbered("a", 0, 0, 2)); err != nil {
				t.Fatal(err)
			}
			if n := p.PossibleDuplicates(); n != 2 {
				t.Errorf("%d possible duplicates counted, want 2", n)
			}
			if diff := cmp.Diff([]string{"0", "1", "0", "1"}, values(t, c, "a", 0)); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConcurrentCallersKeepTheirOrderAndShareBatches(t *testing.T) {
	t.Parallel()
	k := cluster(t)
	c := open(t, k, false, map[string]int{"a": 2})
	p := c.NewProducer(kafka.ProducerOptions{})
	requests := k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
	// Faults at random make retries; no batch may overtake another.
	k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "a", Err: kerr.NotEnoughReplicas, Count: 10, When: func(kmsg.Request) bool { return rand.IntN(8) == 0 }})
	const callers, each = 20, 50
	var wg sync.WaitGroup
	for n := range callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				r := rec("a", int32(n%2), "", fmt.Sprintf("%d:%d", n, i))
				if _, err := p.Produce(within(t, 60*time.Second), []kafka.Record{r}); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	next := map[string]int{}
	for part := range int32(2) {
		for _, v := range values(t, c, "a", part) {
			who, i, _ := strings.Cut(v, ":")
			if fmt.Sprint(next[who]) != i {
				t.Fatalf("caller %s: record %s where %d was expected", who, i, next[who])
			}
			next[who]++
		}
	}
	for who, n := range next {
		if n != each {
			t.Errorf("caller %s: %d of %d records", who, n, each)
		}
	}
	if n := requests.Hits(); n >= callers*each {
		t.Errorf("%d requests for %d records: callers do not share batches", n, callers*each)
	}
}

func TestABigCallIsCutIntoBatches(t *testing.T) {
	t.Parallel()
	c := open(t, cluster(t), false, map[string]int{"a": 1})
	var in []kafka.Record
	for i := range 12_000 {
		b := make([]byte, 500)
		for j := range b {
			b[j] = byte(rand.Uint32())
		}
		in = append(in, kafka.Record{Topic: "a", Key: []byte(fmt.Sprint(i)), Value: b})
	}
	offsets, err := c.NewProducer(kafka.ProducerOptions{}).Produce(within(t, 60*time.Second), in)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	if _, err := c.ReadAll(within(t, 60*time.Second), "a", 0, 0, func(r kafka.Record) error {
		if offsets[i] != r.Offset || string(r.Key) != fmt.Sprint(i) || !bytes.Equal(r.Value, in[i].Value) {
			return fmt.Errorf("record %d differs", i)
		}
		i++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if i != len(in) {
		t.Errorf("%d of %d records read", i, len(in))
	}
}

func TestARecordThatDoesNotFitIsRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	c := open(t, cluster(t), false, map[string]int{"a": 1})
	in := []kafka.Record{rec("a", 0, "k", "small"), {Topic: "a", Key: []byte("big"), Value: make([]byte, 1_100_000)}}
	_, err := c.NewProducer(kafka.ProducerOptions{}).Produce(within(t, 5*time.Second), in)
	var large *kafka.TooLarge
	if !errors.As(err, &large) || large.Key != "big" {
		t.Fatalf("error %v, want a *TooLarge of key big", err)
	}
	if got := values(t, c, "a", 0); len(got) != 0 {
		t.Errorf("%d records were written", len(got))
	}
}

func TestABrokerWithALowerLimitGetsSmallerBatches(t *testing.T) {
	t.Parallel()
	k := cluster(t)
	c := open(t, k, false, nil)
	spec := kafka.TopicSpec{Name: "a", Partitions: 1, Configs: map[string]string{"max.message.bytes": "2000"}}
	if err := c.EnsureTopics(within(t, 10*time.Second), []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	p := c.NewProducer(kafka.ProducerOptions{Compression: kafka.None})
	if _, err := p.Produce(within(t, 20*time.Second), numbered("a", 0, 0, 500)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(numbers(0, 500), values(t, c, "a", 0)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	_, err := p.Produce(within(t, 20*time.Second), []kafka.Record{{Topic: "a", Key: []byte("big"), Value: make([]byte, 5000)}})
	var large *kafka.TooLarge
	if !errors.As(err, &large) {
		t.Fatalf("error %v, want a *TooLarge", err)
	}
}

func TestARefusedUserIsAnErrorAndNotAnEndlessRetry(t *testing.T) {
	t.Parallel()
	k := cluster(t)
	c := open(t, k, false, map[string]int{"a": 1})
	k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "a", Err: kerr.TopicAuthorizationFailed, Count: -1})
	_, err := c.NewProducer(kafka.ProducerOptions{}).Produce(within(t, 10*time.Second), numbered("a", 0, 0, 1))
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v, want a refusal", err)
	}
}
