package main

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/mapping"
	"github.com/plantloom/plantloom/mapping/engine"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// truth is what a workload must give: the engine by itself, without Kafka, over the same samples.
type truth struct {
	Samples int             // with the tail
	IDs     map[string]bool // of the events
}

// expect runs the engine over a workload.
func expect(w workload) (truth, error) {
	set, _, err := loadSet(w.Plant, w.Machines)
	if err != nil {
		return truth{}, err
	}
	e, err := together(set)
	if err != nil {
		return truth{}, err
	}
	t := truth{IDs: map[string]bool{}}
	var out engine.Effects
	take := func(samples []pipeline.Sample) error {
		t.Samples += len(samples)
		for _, r := range inboxRecords(batch(samples, nil)) {
			out.Reset()
			e.Apply(engine.Cause{Record: r.rec, Key: r.asset, At: samples[len(samples)-1].Seen}, &out)
			if n := len(out.Dead) + len(out.Late) + out.Repeats; n > 0 {
				return fmt.Errorf("the workload is wrong: %d dead letters, %d late samples, %d repeats in one record", len(out.Dead), len(out.Late), out.Repeats)
			}
			for i := range out.Events {
				t.IDs[out.Events[i].EffectID()] = true
			}
		}
		return nil
	}
	f := newFleet(w.Machines)
	var samples []pipeline.Sample
	for left := w.Samples; left > 0; left -= len(samples) {
		samples = f.next(samples[:0], min(left, w.Batch))
		if err := take(samples); err != nil {
			return truth{}, err
		}
	}
	return t, take(f.tail())
}

// record is an inbox record before it is marshalled.
type record struct {
	asset string
	rec   *inboxv1.InboxRecord
}

// inboxRecords cuts a batch by asset, as the collect role does.
func inboxRecords(b pipeline.Batch) (recs []record) {
	for _, p := range byAsset(b.Samples) {
		meta := func(string) inbox.Meta { return inbox.Meta{Asset: p.asset} }
		recs = append(recs, record{p.asset, inbox.Encode(sourceID, b, p.samples, meta)})
	}
	return recs
}

// part is the samples of one asset.
type part struct {
	asset   string
	samples []pipeline.Sample
}

func byAsset(samples []pipeline.Sample) (parts []part) {
	at := map[string]int{}
	for _, s := range samples {
		name, _, _ := strings.Cut(s.Tag, "/")
		i, ok := at[name]
		if !ok {
			i = len(parts)
			at[name] = i
			parts = append(parts, part{asset: assetOf(name)})
		}
		parts[i].samples = append(parts[i].samples, s)
	}
	return parts
}

// counts is what stands in the topics at the end of a run.
type counts struct {
	Samples, Inbox, Events, Repeated int // Inbox: records with samples; Repeated: events with an id that was there before
}

// count reads the far side of a run: every inbox record and every event, whatever the roles said of themselves.
func count(ctx context.Context, c *kafka.Client, w workload, want truth) (n counts, err error) {
	seen := map[string]bool{}
	for p := range int32(w.Partitions) {
		err := readFrom(ctx, c, "inbox.v1", p, func(r kafka.Record) error {
			var rec inboxv1.InboxRecord
			if err := proto.Unmarshal(r.Value, &rec); err != nil {
				return fmt.Errorf("decoding an inbox record: %w", err)
			}
			if k := len(rec.GetTags().GetSamples()); k > 0 {
				n.Samples, n.Inbox = n.Samples+k, n.Inbox+1
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		err = readFrom(ctx, c, kafka.EventTopic("ProductionOrderEvent"), p, func(r kafka.Record) error {
			e, err := kafka.ParseEvent(r)
			if err != nil {
				return err
			}
			if id := e.EffectID(); seen[id] {
				n.Repeated++
			} else if seen[id] = true; !want.IDs[id] {
				return fmt.Errorf("event %s is none of those that the samples give", id)
			}
			n.Events++
			return nil
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func readFrom(ctx context.Context, c *kafka.Client, suffix string, part int32, fn func(kafka.Record) error) error {
	topic := c.Topic(suffix)
	start, _, err := c.Offsets(ctx, topic, part)
	if err != nil {
		return fmt.Errorf("reading %s: %w", suffix, err)
	}
	if _, err := c.ReadAll(ctx, topic, part, start, fn); err != nil {
		return fmt.Errorf("reading %s: %w", suffix, err)
	}
	return nil
}

// check compares what a run left with what it had to.
func (n counts) check(want truth) error {
	if n.Samples != want.Samples {
		return fmt.Errorf("%d samples are in the inbox, %d were emitted", n.Samples, want.Samples)
	}
	if n.Events != len(want.IDs) || n.Repeated != 0 {
		return fmt.Errorf("%d events are in the topic, %d of them repeated; the samples give %d", n.Events, n.Repeated, len(want.IDs))
	}
	return nil
}

// together puts the machines of a set into one engine.
func together(set *mapping.Set) (*engine.Engine, error) {
	e, err := engine.New(engine.Config{Site: site, Digest: set.Digest}, set.Bound)
	if err != nil {
		return nil, fmt.Errorf("preparing the engine: %w", err)
	}
	return e, nil
}
