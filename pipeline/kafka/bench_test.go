package kafka_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

// BenchmarkProduce writes batches of 4,000 records of 200 bytes to one partition; ns/op is per record.
func BenchmarkProduce(b *testing.B) {
	c := open(b, cluster(b), false, map[string]int{"a": 1})
	p := c.NewProducer(kafka.ProducerOptions{})
	recs := benchRecords(4000)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(recs) {
		if _, err := p.Produce(context.Background(), recs[:min(len(recs), b.N-n)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFetch reads them back; ns/op is per record.
func BenchmarkFetch(b *testing.B) {
	c := open(b, cluster(b), false, map[string]int{"a": 1})
	p := c.NewProducer(kafka.ProducerOptions{})
	recs := benchRecords(4000)
	for range 50 {
		if _, err := p.Produce(context.Background(), recs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	f := c.NewFetcher("a", 0, 0, kafka.FetchOptions{})
	for n := 0; n < b.N; {
		got, err := f.Fetch(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if n += len(got); f.Position() >= 200_000 {
			f.SkipTo(0)
		}
	}
}

// BenchmarkCommit commits one record per transaction.
func BenchmarkCommit(b *testing.B) {
	c := open(b, cluster(b), false, map[string]int{"a": 1})
	x, err := c.OpenTxn(context.Background(), "id")
	if err != nil {
		b.Fatal(err)
	}
	recs := benchRecords(1)
	b.ResetTimer()
	for range b.N {
		if _, err := x.Commit(context.Background(), recs); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRecords(n int) []kafka.Record {
	recs := make([]kafka.Record, n)
	for i := range recs {
		v := bytes.Repeat([]byte{byte(i), byte(i >> 8), 'a', 'b', 'c'}, 40)
		recs[i] = kafka.Record{Topic: "a", Key: []byte("site/area/line"), Value: v}
	}
	return recs
}
