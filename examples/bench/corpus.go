package main

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// corpus is a piece of the workload in the form in which each stage takes it.
type corpus struct {
	w       workload
	set     *mapping.Set
	batches []pipeline.Batch
	parts   []assetPart
	samples int
	records []record
	values  [][]byte  // the records, marshalled
	mapped  [][]int   // the records of each inbox partition
	perStep int       // samples that one step of the map role covers
	steps   []stepOut // what the engine gives, cut as steps are
	events  int
}

// assetPart is what becomes one inbox record.
type assetPart struct {
	batch *pipeline.Batch
	part
}

// stepOut is what one step of the map role commits.
type stepOut struct {
	partition int32
	events    []engine.Emitted
	delta     []byte
}

// newCorpus makes a corpus of so many samples of a workload and what the lines report until their orders have ended.
// perStep is how many samples a step of the map role covers. client places records; it need not be connected.
func newCorpus(w workload, samples, perStep int, client *kafka.Client) (*corpus, error) {
	set, _, err := loadSet(w.Plant, w.Machines)
	if err != nil {
		return nil, err
	}
	c := &corpus{w: w, set: set, perStep: perStep, mapped: make([][]int, w.Partitions)}
	f := newFleet(w.Machines)
	for left := samples; left > 0; left -= w.Batch {
		c.batches = append(c.batches, batch(f.next(nil, min(left, w.Batch)), nil))
	}
	tail := f.tail()
	c.batches, c.samples = append(c.batches, batch(tail, nil)), samples+len(tail)
	for i := range c.batches {
		b := &c.batches[i]
		for _, p := range byAsset(b.Samples) {
			c.parts = append(c.parts, assetPart{b, p})
		}
		c.records = append(c.records, inboxRecords(*b)...)
	}
	for i, r := range c.records {
		v, err := proto.Marshal(r.rec)
		if err != nil {
			return nil, fmt.Errorf("encoding a record: %w", err)
		}
		c.values = append(c.values, v)
		p := client.PartitionFor(client.Topic("inbox.v1"), []byte(r.asset))
		c.mapped[p] = append(c.mapped[p], i)
	}
	c.events, err = c.runEngine(true, func(s stepOut) {
		s.events = slices.Clone(s.events)
		c.steps = append(c.steps, s)
	})
	return c, err
}

// runEngine runs an engine over the records of each partition, as the map role does, and counts the events. With deltas
// it cuts steps and hands them over; take owns their delta, and their events until it returns.
func (c *corpus) runEngine(deltas bool, take func(stepOut)) (events int, err error) {
	for p, records := range c.mapped {
		e, err := together(c.set)
		if err != nil {
			return 0, err
		}
		var out engine.Effects
		n := 0
		for k, i := range records {
			e.Apply(c.cause(i), &out)
			n += len(c.records[i].rec.GetTags().GetSamples())
			if n < c.perStep && k < len(records)-1 {
				continue
			}
			if deltas {
				take(stepOut{int32(p), out.Events, e.Delta()})
			}
			events, n = events+len(out.Events), 0
			out.Reset()
		}
	}
	return events, nil
}

func (c *corpus) cause(i int) engine.Cause {
	return engine.Cause{Record: c.records[i].rec, Key: c.records[i].asset, Offset: int64(i), At: time.Unix(1_767_600_000, 0)}
}
