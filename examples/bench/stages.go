package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// stage is one piece of the way. once does it for the whole corpus.
type stage struct {
	Name   string
	Unit   string // what PerOp counts: sample, event, evaluation
	PerOp  int
	Remote bool // a broker works too
	once   func() error
}

// The names of the stages.
const (
	stageSource    = "making the samples (the bench's own source)"
	stageEncode    = "inbox.Encode"
	stageMarshal   = "proto.Marshal of inbox records"
	stageUnmarshal = "proto.Unmarshal of inbox records"
	stageDecode    = "inbox.Decode"
	stageApply     = "engine.Apply, inbox.Decode included"
	stageDelta     = "engine.Apply and a Delta per step"
	stageEvent     = "EventRecord"
	stageProduce   = "Producer.Produce, one call per batch"
	stageFetch     = "Fetcher.Fetch"
	stageCommit    = "Txn.Step: events, then the marker"
)

// figure is one measurement of a stage, per unit.
type figure struct {
	CPU, Wall, Bytes, Allocs float64 // CPU and Wall in ns; CPU of all threads of the process, collector included
	Broker                   float64 // CPU of the broker, ns
}

// measure runs a stage as a benchmark. broker tells what the broker has used, nil where there is none.
func measure(s stage, broker func() (usage, error)) (figure, error) {
	var fault error
	var cpu time.Duration
	ops := 0
	before, err := look(s, broker)
	if err != nil {
		return figure{}, err
	}
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		began, err := used()
		for range b.N {
			if err == nil {
				err = s.once()
			}
		}
		ended, lookErr := used()
		cpu, ops = ended.CPU-began.CPU, ops+b.N // the newest call is the one that r is about
		if fault = errors.Join(err, lookErr); fault != nil {
			b.Error(fault)
		}
	})
	if fault != nil {
		return figure{}, fmt.Errorf("measuring %s: %w", s.Name, fault)
	}
	after, err := look(s, broker)
	if err != nil {
		return figure{}, err
	}
	n := float64(r.N) * float64(s.PerOp)
	return figure{
		CPU: float64(cpu) / n, Wall: float64(r.T) / n, Bytes: float64(r.MemBytes) / n, Allocs: float64(r.MemAllocs) / n,
		Broker: float64(after.CPU-before.CPU) / float64(ops*s.PerOp),
	}, nil
}

func look(s stage, broker func() (usage, error)) (usage, error) {
	if !s.Remote {
		return usage{}, nil
	}
	return broker()
}

// pure are the stages that need no broker.
func (c *corpus) pure(client *kafka.Client) []stage {
	meta := func(string) inbox.Meta { return inbox.Meta{Asset: "demo/riverside/bottling/L001", Unit: "C62"} }
	var sampleBuf []pipeline.Sample
	return []stage{
		{Name: stageSource, Unit: "sample", PerOp: c.samples, once: func() error {
			f := newFleet(c.w.Machines)
			for left := c.samples; left > 0; left -= len(sampleBuf) {
				sampleBuf = f.next(sampleBuf[:0], min(left, c.w.Batch))
			}
			return nil
		}},
		{Name: stageEncode, Unit: "sample", PerOp: c.samples, once: func() error {
			for i := range c.parts {
				inbox.Encode(sourceID, *c.parts[i].batch, c.parts[i].samples, meta)
			}
			return nil
		}},
		{Name: stageMarshal, Unit: "sample", PerOp: c.samples, once: func() error {
			for i := range c.records {
				if _, err := proto.Marshal(c.records[i].rec); err != nil {
					return fmt.Errorf("encoding a record: %w", err)
				}
			}
			return nil
		}},
		{Name: stageUnmarshal, Unit: "sample", PerOp: c.samples, once: func() error {
			for _, v := range c.values {
				var r inboxv1.InboxRecord
				if err := proto.Unmarshal(v, &r); err != nil {
					return fmt.Errorf("decoding a record: %w", err)
				}
			}
			return nil
		}},
		{Name: stageDecode, Unit: "sample", PerOp: c.samples, once: func() error {
			for i := range c.records {
				sampleBuf = inbox.Decode(c.records[i].rec.GetTags(), sampleBuf[:0])
			}
			return nil
		}},
		c.engineStage(stageApply, false),
		c.engineStage(stageDelta, true),
		{Name: stageEvent, Unit: "event", PerOp: c.events, once: func() error {
			for _, s := range c.steps {
				eventRecords(client, s.events)
			}
			return nil
		}},
	}
}

// engineStage applies the corpus to new engines, and takes their delta at each step if told so.
func (c *corpus) engineStage(name string, deltas bool) stage {
	return stage{Name: name, Unit: "sample", PerOp: c.samples, once: func() error {
		events, err := c.runEngine(deltas, func(stepOut) {})
		if err == nil && events != c.events {
			err = fmt.Errorf("the engine gave %d events and not %d", events, c.events)
		}
		return err
	}}
}

func eventRecords(client *kafka.Client, events []engine.Emitted) []kafka.Record {
	recs := make([]kafka.Record, 0, len(events))
	for i := range events {
		e := &events[i]
		recs = append(recs, client.EventRecord(e.Event, "/"+e.Asset+"/"+e.Mapping))
	}
	return recs
}

// remote are the stages that talk to a broker. The inbox is filled for the one that reads it.
func (c *corpus) remote(ctx context.Context, client *kafka.Client) ([]stage, error) {
	producer := client.NewProducer(kafka.ProducerOptions{})
	var emits [][]kafka.Record // the records of each batch
	i := 0
	for b := range c.batches {
		var recs []kafka.Record
		for ; i < len(c.parts) && c.parts[i].batch == &c.batches[b]; i++ {
			recs = append(recs, kafka.Record{Topic: client.Topic("inbox.v1"), Partition: -1, Key: []byte(c.parts[i].asset), Value: c.values[i]})
		}
		emits = append(emits, recs)
	}
	produce := func(topic string) func() error {
		return func() error {
			for _, recs := range emits {
				for i := range recs {
					recs[i].Topic = client.Topic(topic)
				}
				if _, err := producer.Produce(ctx, recs); err != nil {
					return fmt.Errorf("producing: %w", err)
				}
			}
			return nil
		}
	}
	if err := produce("inbox.v1")(); err != nil {
		return nil, err
	}
	txn, err := client.OpenTxn(ctx, client.Topic("bench"))
	if err != nil {
		return nil, fmt.Errorf("opening a transaction: %w", err)
	}
	return []stage{
		{Name: stageProduce, Unit: "sample", PerOp: c.samples, Remote: true, once: produce("backfill.v1")},
		{Name: stageFetch, Unit: "sample", PerOp: c.samples, Remote: true, once: func() error { return c.fetch(ctx, client) }},
		{Name: stageCommit, Unit: "event", PerOp: c.events, Remote: true, once: func() error { return c.commit(ctx, client, txn) }},
	}, nil
}

// fetch reads the whole inbox.
func (c *corpus) fetch(ctx context.Context, client *kafka.Client) error {
	n := 0
	for p := range int32(c.w.Partitions) {
		_, end, err := client.Offsets(ctx, client.Topic("inbox.v1"), p)
		if err != nil {
			return fmt.Errorf("reading the inbox's end: %w", err)
		}
		f := client.NewFetcher(client.Topic("inbox.v1"), p, 0, kafka.FetchOptions{})
		for f.Position() < end {
			recs, err := f.Fetch(ctx)
			if err != nil {
				return fmt.Errorf("fetching: %w", err)
			}
			n += len(recs)
		}
	}
	if n != len(c.records) {
		return fmt.Errorf("%d records came and not %d", n, len(c.records))
	}
	return nil
}

// commit writes the events and the state deltas of all steps.
func (c *corpus) commit(ctx context.Context, client *kafka.Client, txn *kafka.Txn) error {
	for i, s := range c.steps {
		marker := []kafka.Record{{Topic: client.Topic("state.v1"), Partition: s.partition, Key: []byte{byte(i >> 8), byte(i)}, Value: s.delta}}
		if err := txn.Step(ctx, eventRecords(client, s.events), marker); err != nil {
			return fmt.Errorf("committing: %w", err)
		}
	}
	return nil
}
