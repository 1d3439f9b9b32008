// Package inbox turns batches of samples into inbox records and back: the wire form of what a mapping can see.
//
// It never touches Kafka. The collect role encodes with it, the engine and the views decode with it.
package inbox

import (
	"time"

	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

// Meta is what a record says about each of its tags.
type Meta struct {
	Asset string
	Unit  string
}

// Encode makes the record of samples that all belong to one asset. samples is not kept.
// Handles index the record's own tags, so that a record explains itself (R8). Either all samples have a position or none.
func Encode(source string, b pipeline.Batch, samples []pipeline.Sample, meta func(tag string) Meta) *inboxv1.InboxRecord {
	tb := &inboxv1.TagBatch{
		SourceId: source, Session: b.Session, State: inboxv1.SourceState(b.State), WatermarkNs: nanos(b.Watermark),
		Samples: make([]*inboxv1.TagSample, len(samples)),
	}
	handles := make(map[string]uint32, 16)
	flat := make([]inboxv1.TagSample, len(samples))
	if len(samples) > 0 {
		tb.FirstPosition = samples[0].Position
	}
	for i := range samples {
		s := &samples[i]
		h, ok := handles[s.Tag]
		if !ok {
			h = uint32(len(tb.Tags))
			handles[s.Tag] = h
			m := meta(s.Tag)
			tb.Tags = append(tb.Tags, &inboxv1.TagDescriptor{
				TagId: s.Tag, AssetPath: m.Asset, UnitCode: m.Unit, Type: inboxv1.ValueType(s.Value.Type()),
			})
		}
		encodeSample(&flat[i], s, h, tb.FirstPosition)
		tb.Samples[i] = &flat[i]
	}
	return &inboxv1.InboxRecord{Kind: &inboxv1.InboxRecord_Tags{Tags: tb}}
}

func encodeSample(p *inboxv1.TagSample, s *pipeline.Sample, handle uint32, first uint64) {
	p.TagHandle = handle
	p.Type = inboxv1.ValueType(s.Value.Type())
	switch s.Value.Type() {
	case pipeline.TypeBool:
		p.BoolValue = s.Value.AsBool()
	case pipeline.TypeInt, pipeline.TypeTime:
		p.IntValue = s.Value.AsInt()
	case pipeline.TypeUint:
		p.UintValue = s.Value.AsUint()
	case pipeline.TypeFloat, pipeline.TypeDouble:
		p.DoubleValue = s.Value.AsDouble()
	case pipeline.TypeBytes:
		p.BytesValue = []byte(s.Value.AsText())
	case pipeline.TypeText, pipeline.TypeJSON:
		p.StringValue = s.Value.AsText()
	case pipeline.TypeNull:
	}
	p.StatusCode = uint32(s.Quality)
	p.SourceTimeNs, p.ServerTimeNs, p.ReceiveTimeNs = nanos(s.At), nanos(s.ServerAt), nanos(s.Seen)
	p.Sequence, p.Flags = s.Ordinal, uint32(s.Flags)
	if s.Position != 0 {
		p.PositionOffset = s.Position - first
	}
	if s.Op != pipeline.OpAdd {
		p.Op = inboxv1.SampleOp(s.Op) + inboxv1.SampleOp_SAMPLE_OP_ADD
	}
}

// Decode appends the record's samples to into and returns it. Samples whose handle names no tag are left out.
func Decode(tb *inboxv1.TagBatch, into []pipeline.Sample) []pipeline.Sample {
	for _, p := range tb.GetSamples() {
		tag := p.GetTagId()
		if tag == "" {
			if int(p.GetTagHandle()) >= len(tb.GetTags()) {
				continue
			}
			tag = tb.GetTags()[p.GetTagHandle()].GetTagId()
		}
		s := pipeline.Sample{
			Tag: tag, Value: Value(p), Quality: pipeline.Quality(p.GetStatusCode()),
			At: Time(p.GetSourceTimeNs()), ServerAt: Time(p.GetServerTimeNs()), Seen: Time(p.GetReceiveTimeNs()),
			Ordinal: p.GetSequence(), Flags: pipeline.Flags(p.GetFlags()),
		}
		if tb.GetFirstPosition() != 0 {
			s.Position = tb.GetFirstPosition() + p.GetPositionOffset()
		}
		if op := p.GetOp(); op > inboxv1.SampleOp_SAMPLE_OP_ADD {
			s.Op = pipeline.Op(op - inboxv1.SampleOp_SAMPLE_OP_ADD)
		}
		into = append(into, s)
	}
	return into
}

// Value returns a flat sample's value.
func Value(p *inboxv1.TagSample) pipeline.Value {
	switch pipeline.Type(p.GetType()) {
	case pipeline.TypeBool:
		return pipeline.Bool(p.GetBoolValue())
	case pipeline.TypeInt:
		return pipeline.Int(p.GetIntValue())
	case pipeline.TypeUint:
		return pipeline.Uint(p.GetUintValue())
	case pipeline.TypeFloat:
		return pipeline.Float(float32(p.GetDoubleValue()))
	case pipeline.TypeDouble:
		return pipeline.Double(p.GetDoubleValue())
	case pipeline.TypeText:
		return pipeline.Text(p.GetStringValue())
	case pipeline.TypeBytes:
		return pipeline.Bytes(p.GetBytesValue())
	case pipeline.TypeTime:
		return pipeline.Time(time.Unix(0, p.GetIntValue()))
	case pipeline.TypeJSON:
		return pipeline.JSON(p.GetStringValue())
	}
	return pipeline.Null()
}

// Time turns nanoseconds since 1970 into a time; 0 is the zero time.
func Time(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
