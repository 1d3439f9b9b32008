package collect

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/internal/wait"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/inbox"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// maxSamples bounds one inbox record; 2,000 samples of 60 bytes stay far below Kafka's 1 MB.
const maxSamples = 2000

// outlet makes a source's batches durable: samples split by asset, documents, dead letters, and then the cursor.
type outlet struct {
	o        Options
	producer *kafka.Producer
	tags     map[string]pipeline.Tag
	parts    []int32 // inbox partitions that hold an asset of this source

	mu     sync.Mutex
	state  inboxv1.Heartbeat // of the newest durable batch
	cursor []byte            // newest saved
}

var _ pipeline.Outlet = (*outlet)(nil)

func newOutlet(_ context.Context, o Options) (*outlet, error) {
	out := &outlet{o: o, producer: o.Client.NewProducer(kafka.ProducerOptions{}), tags: map[string]pipeline.Tag{}}
	out.state.SourceId = o.ID
	seen := map[int32]bool{}
	for _, t := range o.Tags {
		if t.Asset == "" {
			return nil, fmt.Errorf("tag %s has no asset", t.ID)
		}
		out.tags[t.ID] = t
		p := o.Client.PartitionFor(o.Client.Topic("inbox.v1"), []byte(t.Asset))
		if !seen[p] {
			seen[p] = true
			out.parts = append(out.parts, p)
		}
	}
	sort.Slice(out.parts, func(i, j int) bool { return out.parts[i] < out.parts[j] })
	return out, nil
}

// Emit implements pipeline.Outlet.
func (out *outlet) Emit(ctx context.Context, b pipeline.Batch) error {
	recs, err := out.records(b)
	if err != nil {
		return err
	}
	if out.o.UnsafeCursorFirst {
		if err := out.saveCursor(ctx, b.Cursor); err != nil {
			return err
		}
	}
	if len(recs) > 0 {
		if _, err := out.producer.Produce(ctx, recs); err != nil {
			return fmt.Errorf("writing the batch of source %s: %w", out.o.ID, err)
		}
	}
	// Durable first: the cursor moves only after everything it covers is in the log.
	if !out.o.UnsafeCursorFirst {
		if err := out.saveCursor(ctx, b.Cursor); err != nil {
			return err
		}
	}
	out.o.Count("samples", float64(len(b.Samples)))
	out.remember(b)
	return nil
}

// remember keeps what the next heartbeat promises; only durable batches count.
func (out *outlet) remember(b pipeline.Batch) {
	out.mu.Lock()
	defer out.mu.Unlock()
	out.state.Session = b.Session
	out.state.State = inboxv1.SourceState(b.State)
	out.state.ClockSkewNs = b.ClockSkew.Nanoseconds()
	if !b.Watermark.IsZero() {
		out.state.WatermarkNs = b.Watermark.UnixNano()
	}
}

func (out *outlet) records(b pipeline.Batch) ([]kafka.Record, error) {
	recs, err := out.sampleRecords(b)
	if err != nil {
		return nil, err
	}
	for _, order := range b.Orders {
		v, err := proto.MarshalOptions{Deterministic: true}.Marshal(order)
		if err != nil {
			return nil, fmt.Errorf("encoding order %s: %w", order.GetOrderId(), err)
		}
		recs = append(recs, kafka.Record{Topic: out.o.Client.Topic("order.request.v1"), Partition: -1, Key: []byte(order.GetOrderId()), Value: v})
	}
	for _, d := range b.Dead {
		recs = append(recs, out.o.Client.DeadLetterRecord("source", d, kafka.Cause{}))
	}
	return recs, nil
}

// sampleRecords splits the samples by asset, keeping their order, and cuts records that would grow too large.
func (out *outlet) sampleRecords(b pipeline.Batch) ([]kafka.Record, error) {
	byAsset := map[string][]pipeline.Sample{}
	var assets []string
	for _, s := range b.Samples {
		tag, ok := out.tags[s.Tag]
		if !ok {
			return nil, fmt.Errorf("source %s emitted tag %q, which is not in its list", out.o.ID, s.Tag)
		}
		if _, ok := byAsset[tag.Asset]; !ok {
			assets = append(assets, tag.Asset)
		}
		byAsset[tag.Asset] = append(byAsset[tag.Asset], s)
	}
	meta := func(tag string) inbox.Meta { return inbox.Meta{Asset: out.tags[tag].Asset, Unit: out.tags[tag].Unit} }
	var recs []kafka.Record
	for _, asset := range assets {
		samples := byAsset[asset]
		for len(samples) > 0 {
			n := cut(samples)
			part := b
			if n < len(samples) {
				part.Watermark = time.Time{} // only the last record of an asset may promise anything
			}
			v, err := proto.Marshal(inbox.Encode(out.o.ID, part, samples[:n], meta))
			if err != nil {
				return nil, fmt.Errorf("encoding samples of %s: %w", asset, err)
			}
			recs = append(recs, kafka.Record{Topic: out.o.Client.Topic("inbox.v1"), Partition: -1, Key: []byte(asset), Value: v})
			samples = samples[n:]
		}
	}
	return recs, nil
}

// cut returns how many samples the next record takes: not too many, and either all with a position or all without.
func cut(samples []pipeline.Sample) int {
	n := 1
	for n < len(samples) && n < maxSamples && (samples[n].Position == 0) == (samples[0].Position == 0) {
		n++
	}
	return n
}

// beat writes one heartbeat per inbox partition and period, so that time moves where tags are quiet (R10).
func (out *outlet) beat(ctx context.Context) error {
	if len(out.parts) == 0 {
		return nil
	}
	for wait.For(ctx, out.o.Heartbeat) {
		out.mu.Lock()
		v, err := proto.Marshal(&inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_Heartbeat{Heartbeat: &out.state}})
		silent := out.state.GetWatermarkNs() == 0
		out.mu.Unlock()
		if err != nil {
			return fmt.Errorf("encoding a heartbeat of source %s: %w", out.o.ID, err)
		}
		if silent {
			continue // nothing was promised yet
		}
		recs := make([]kafka.Record, 0, len(out.parts))
		for _, p := range out.parts {
			recs = append(recs, kafka.Record{Topic: out.o.Client.Topic("inbox.v1"), Partition: p, Key: []byte(out.o.ID), Value: v})
		}
		if _, err := out.producer.Produce(ctx, recs); err != nil {
			return ignoreEnd(ctx, fmt.Errorf("writing a heartbeat of source %s: %w", out.o.ID, err))
		}
	}
	return nil
}
