package gateway

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/plantloom/plantloom/gen/plantloom/event/v1"
	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
)

const line1 = "demo/riverside/bottling/L1"

func sample(tag string, second int, v pipeline.Value) pipeline.Sample {
	return pipeline.Sample{Tag: tag, Value: v, At: at(second), Seen: at(second)}
}

func (w *world) tag(id string) *gatewayv1.TagValue {
	w.t.Helper()
	res, err := gatewayv1.NewTagServiceClient(w.grpc).ReadTags(w.t.Context(), &gatewayv1.ReadTagsRequest{TagIds: []string{id}})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(res.GetTags()) == 0 {
		return nil
	}
	return res.GetTags()[0]
}

// R18: tags are rebuilt from the inbox.
func TestTheCurrentValueIsTheNewestBySourceTime(t *testing.T) {
	t.Parallel()
	bad := func(s pipeline.Sample) pipeline.Sample { s.Quality = pipeline.BadSensorFailure; return s }
	flag := func(f pipeline.Flags, seen int, s pipeline.Sample) pipeline.Sample {
		s.Flags |= f
		s.Seen = at(seen)
		return s
	}
	for name, tc := range map[string]struct {
		samples []pipeline.Sample
		want    int64
	}{
		"a later sample replaces an earlier one": {[]pipeline.Sample{sample("a", 1, pipeline.Int(1)), sample("a", 2, pipeline.Int(2))}, 2},
		"an older one that comes late does not":  {[]pipeline.Sample{sample("a", 2, pipeline.Int(2)), sample("a", 1, pipeline.Int(1))}, 2},
		"history fills the past":                 {[]pipeline.Sample{sample("a", 5, pipeline.Int(5)), flag(pipeline.FlagHistorical, 9, sample("a", 4, pipeline.Int(4)))}, 5},
		"history at the same time does not win":  {[]pipeline.Sample{sample("a", 5, pipeline.Int(5)), flag(pipeline.FlagHistorical, 9, sample("a", 5, pipeline.Int(4)))}, 5},
		"history is shown where nothing else is": {[]pipeline.Sample{flag(pipeline.FlagHistorical, 9, sample("a", 4, pipeline.Int(4)))}, 4},
		"equal times: the later ordinal": {[]pipeline.Sample{
			{Tag: "a", Value: pipeline.Int(1), At: at(1), Ordinal: 0}, {Tag: "a", Value: pipeline.Int(2), At: at(1), Ordinal: 1}, {Tag: "a", Value: pipeline.Int(3), At: at(1), Ordinal: 0},
		}, 2},
		"a withdrawn value is none": {[]pipeline.Sample{sample("a", 1, pipeline.Int(1)), {Tag: "a", At: at(2), Op: pipeline.OpDelete}}, 1},
		"a new subscription's first value ends an outage's bad status": {[]pipeline.Sample{
			sample("a", 1, pipeline.Int(1)), bad(sample("a", 5, pipeline.Null())), flag(pipeline.FlagInitial, 9, sample("a", 1, pipeline.Int(1))),
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, together := range []bool{true, false} {
				v := newViews(Options{limits: limits{}.orDefault()})
				w := &world{t: t, client: testClient(t)}
				if together {
					if err := v.applyInbox(w.samples(line1, tc.samples...), true); err != nil {
						t.Fatal(err)
					}
				} else {
					for _, s := range tc.samples {
						if err := v.applyInbox(w.samples(line1, s), true); err != nil {
							t.Fatal(err)
						}
					}
				}
				if got := v.tags["a"].view.GetValue().GetIntValue(); got != tc.want {
					t.Errorf("value %d, want %d (in one batch: %v)", got, tc.want, together)
				}
			}
		})
	}
}

func TestATagShowsValueQualityTimesAndUnit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, func(w *world) {
		w.put(w.samples(line1, pipeline.Sample{Tag: "L1/Speed", Value: pipeline.Double(0), Quality: pipeline.BadSensorFailure, At: at(1), ServerAt: at(2), Seen: at(3)}),
			w.samples("demo/riverside/bottling/L10", sample("L10/Speed", 1, pipeline.Double(2))))
	}).ready()
	want := &gatewayv1.TagValue{
		TagId: "L1/Speed", AssetPath: line1, Value: &eventv1.Value{Kind: &eventv1.Value_DoubleValue{}}, Type: inboxv1.ValueType_VALUE_TYPE_DOUBLE,
		Quality: eventv1.Quality_QUALITY_BAD, StatusCode: uint32(pipeline.BadSensorFailure), StatusName: "BadSensorFailure", UnitCode: "C62", SourceId: "line",
		SourceTime: timestamppb.New(at(1)), ServerTime: timestamppb.New(at(2)), ReceiveTime: timestamppb.New(at(3)),
	}
	if diff := cmp.Diff(want, w.tag("L1/Speed"), protocmp.Transform()); diff != "" {
		t.Errorf("tag (-want +got):\n%s", diff)
	}
	var res struct {
		Tags          []struct{ TagId string }
		UnknownTagIds []string
	}
	w.json("/v1/tags?asset_path="+line1+"/", &res)
	if len(res.Tags) != 1 {
		t.Errorf("tags below L1: %v, L10 is not below it", res.Tags)
	}
	w.json("/v1/tags?tag_ids=L1/Speed&tag_ids=L1/Sped", &res)
	if len(res.Tags) != 1 || len(res.UnknownTagIds) != 1 || res.UnknownTagIds[0] != "L1/Sped" {
		t.Errorf("by ids: %+v", res)
	}
}

func TestASlowWatcherGetsTheNewestValuesAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	const tags, rounds = 20, 500
	v := newViews(Options{limits: limits{}.orDefault()})
	w := &world{t: t, client: testClient(t)}
	s := &server{o: v.o, views: v, streams: make(chan struct{}, 1)}
	s.o.limits.tick = time.Hour
	stream, err := s.openTags(newSelection(nil, line1))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.close()
	release, first := make(chan struct{}), make(chan struct{}, tags*rounds)
	newest, sent := 0, 0
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- stream.run(ctx, func(v *gatewayv1.TagValue) error {
			first <- struct{}{}
			<-release // a client that does not read
			sent++
			if v.GetValue().GetIntValue() == rounds-1 {
				newest++
			}
			if newest == tags {
				cancel()
			}
			return nil
		}, nil)
	}()
	for n := range rounds {
		var batch []pipeline.Sample
		for i := range tags {
			batch = append(batch, sample(fmt.Sprint("t", i), n, pipeline.Int(int64(n))))
		}
		if err := v.applyInbox(w.samples(line1, batch...), true); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			<-first
		}
	}
	if n := len(stream.w.pending); n > tags {
		t.Errorf("%d values wait for the client, want at most one for each of %d tags", n, tags)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if sent > 3*tags {
		t.Errorf("%d values were sent of %d, a slow client should miss those between", sent, tags*rounds)
	}
}

func TestWatchTagsOverSSESendsCurrentValuesThenChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, limits{}, func(w *world) {
		w.put(w.samples(line1, sample("L1/a", 1, pipeline.Int(1)), sample("L1/b", 1, pipeline.Text("x"))))
	}).ready()
	c := w.sse("/v1/tags:watch?tag_ids=L1/a", "")
	for _, want := range []int64{1, 2} {
		event, data := c.next()
		var v gatewayv1.TagValue
		if err := protojson.Unmarshal([]byte(data), &v); err != nil || event != "tag" || v.GetValue().GetIntValue() != want {
			t.Fatalf("%s %s %v, want %d", event, data, err, want)
		}
		w.put(w.samples(line1, sample("L1/b", 2, pipeline.Text("y")), sample("L1/a", 2, pipeline.Int(2))))
	}
}

// BenchmarkInbox shows how fast the tag view is rebuilt at start; ns/op is per sample of a batch of 200.
func BenchmarkInbox(b *testing.B) {
	v := newViews(Options{limits: limits{}.orDefault()})
	w := &world{t: &testing.T{}, client: testClient(b)}
	var batch []pipeline.Sample
	for i := range 200 {
		batch = append(batch, sample(fmt.Sprint("demo/tag/", i%20), i, pipeline.Double(float64(i))))
	}
	r := w.samples(line1, batch...)
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(batch) {
		if err := v.applyInbox(r, false); err != nil {
			b.Fatal(err)
		}
	}
}
