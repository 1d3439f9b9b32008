package opcua_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua"
	"github.com/plantloom/plantloom/internal/uaserver"
	"github.com/plantloom/plantloom/pipeline"
)

func TestATagThatTheServerRefusesDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	p := newPlant(t, withHistory)
	p.tags = append(p.tags, pipeline.Tag{ID: "L1/Ghost", Address: "nsu=" + namespace + ";s=Ghost", Asset: "a/b/c/L1"},
		pipeline.Tag{ID: "L1/Other", Address: "nsu=urn:elsewhere;s=X", Asset: "a/b/c/L1"})
	r := newRig(t, p, func(c *opcua.Config) { c.BadTagRetry = 50 * time.Millisecond })
	r.start()
	r.await("both say that they do not work", func() bool {
		return len(r.sink.samples("L1/Ghost")) == 1 && len(r.sink.samples("L1/Other")) == 1
	})
	for _, tag := range []string{"L1/Ghost", "L1/Other"} {
		if s := r.sink.samples(tag)[0]; s.Quality != pipeline.BadNodeIDUnknown || !s.Value.IsNull() || s.At.IsZero() {
			t.Errorf("%s: %+v", tag, s)
		}
	}
	if st := r.status(); st.State != pipeline.Degraded || !strings.Contains(st.Reason, "2 of 22 tags") || !strings.Contains(st.Reason, "BadNodeIdUnknown") {
		t.Errorf("status %+v", st)
	}
	p.srv.Add("Ghost", uaserver.Variable{Value: int64(7), At: time.Now()})
	r.await("the ghost is found", func() bool {
		s := r.sink.samples("L1/Ghost")
		return s[len(s)-1].Value == pipeline.Int(7)
	})
	r.tags = r.tags[:items]
	stop := r.run()
	r.awaitTick(20)
	stop()
	r.awaitTick(r.plant.count())
	r.exact()
}

func TestEveryTypeQualityAndTimeIsKept(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 800, time.UTC)
	guid := ua.NewGUID("12345678-9abc-def0-1234-56789abcdef0")
	cases := map[string]struct {
		give   any
		status ua.StatusCode
		want   pipeline.Value
	}{
		"Boolean":         {true, 0, pipeline.Bool(true)},
		"SByte":           {int8(-128), 0, pipeline.Int(-128)},
		"Byte":            {uint8(255), 0, pipeline.Uint(255)},
		"Int16":           {int16(-32768), 0, pipeline.Int(-32768)},
		"UInt16":          {uint16(65535), 0, pipeline.Uint(65535)},
		"Int32":           {int32(math.MinInt32), 0, pipeline.Int(math.MinInt32)},
		"UInt32":          {uint32(math.MaxUint32), 0, pipeline.Uint(math.MaxUint32)},
		"Int64":           {int64(math.MinInt64), 0, pipeline.Int(math.MinInt64)},
		"UInt64":          {uint64(math.MaxUint64), 0, pipeline.Uint(math.MaxUint64)},
		"Float":           {float32(0.1), 0, pipeline.Float(0.1)},
		"Double":          {math.Inf(1), 0, pipeline.Double(math.Inf(1))},
		"String":          {"Größe", 0, pipeline.Text("Größe")},
		"empty String":    {"", 0, pipeline.Text("")},
		"not UTF-8":       {"a\xffb", 0, pipeline.Text("a\uFFFDb")},
		"DateTime":        {at, 0, pipeline.Time(at)},
		"Guid":            {guid, 0, pipeline.Text("12345678-9abc-def0-1234-56789abcdef0")},
		"ByteString":      {[]byte{1, 2, 255}, 0, pipeline.Bytes([]byte{1, 2, 255})},
		"NodeId":          {ua.NewStringNodeID(2, "a;b"), 0, pipeline.Text("ns=2;s=a;b")},
		"StatusCode":      {ua.StatusBadTimeout, 0, pipeline.Uint(uint64(pipeline.BadTimeout))},
		"QualifiedName":   {&ua.QualifiedName{NamespaceIndex: 3, Name: "q"}, 0, pipeline.Text("3:q")},
		"LocalizedText":   {ua.NewLocalizedTextWithLocale("läuft", "de"), 0, pipeline.Text("läuft")},
		"array":           {[]int64{math.MaxInt64, -1}, 0, pipeline.JSON("[9223372036854775807,-1]")},
		"array of text":   {[]string{"a<b", `"`}, 0, pipeline.JSON(`["a<b","\""]`)},
		"array of floats": {[]float64{1.5, math.NaN()}, 0, pipeline.JSON(`[1.5,"NaN"]`)},
		"bytes":           {ua.ByteArray{1, 2}, 0, pipeline.JSON("[1,2]")},
		"matrix":          {[][]int32{{1, 2, 3}, {4, 5, 6}}, 0, pipeline.JSON("[[1,2,3],[4,5,6]]")},
		"Uncertain":       {int32(1), ua.StatusUncertainSensorNotAccurate, pipeline.Int(1)},
		"Bad with value":  {int32(2), ua.StatusBadSensorFailure, pipeline.Int(2)},
		"local override":  {int32(3), ua.StatusGoodLocalOverride, pipeline.Int(3)},
	}
	p := newPlant(t, nil)
	for name, tc := range cases {
		p.srv.Add(name, uaserver.Variable{Value: tc.give, Status: tc.status, At: at})
		p.tags = append(p.tags, pipeline.Tag{ID: name, Address: "nsu=" + namespace + ";s=" + name, Asset: "a/b/c/L1"})
	}
	null := p.srv.Add("null", uaserver.Variable{Value: int32(1), At: at})
	null.Set(nil, ua.StatusBadSensorFailure, at)
	p.tags = append(p.tags, pipeline.Tag{ID: "null", Address: "nsu=" + namespace + ";s=null", Asset: "a/b/c/L1"})
	cases["null"] = struct {
		give   any
		status ua.StatusCode
		want   pipeline.Value
	}{nil, ua.StatusBadSensorFailure, pipeline.Null()}
	r := newRig(t, p, nil)
	r.start()
	for name, tc := range cases {
		r.await(name+" has arrived", func() bool { return len(r.sink.samples(name)) > 0 })
		s := r.sink.samples(name)[0]
		if s.Value != tc.want || s.Quality != pipeline.Quality(tc.status) || !s.At.Equal(at) {
			t.Errorf("%s: got %v (type %d) %v at %v, want %v %v", name, s.Value, s.Value.Type(), s.Quality, s.At, tc.want, pipeline.Quality(tc.status))
		}
		if s.Flags&pipeline.FlagInitial == 0 || s.Position == 0 || s.Seen.IsZero() || s.ServerAt.IsZero() {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestNamespacesAreFoundByTheirURIAfterTheServerRenumberedThem(t *testing.T) {
	t.Parallel()
	p := newPlant(t, withHistory)
	r := newRig(t, p, nil)
	r.start()
	stop := r.run()
	r.awaitTick(20)
	stop()
	if err := r.srv.Close(); err != nil {
		t.Fatal(err)
	}
	p.opts.ExtraNamespaces = []string{"urn:a", "urn:b"}
	p.boot()
	stop = r.run()
	r.awaitTick(p.count() + 20)
	stop()
	r.awaitTick(p.count())
	r.exact()
}

// R7: the session names server, start and subscription; positions rise and never are 0 for live samples.
func TestPositionsRiseWithinASession(t *testing.T) {
	t.Parallel()
	r := newRig(t, newPlant(t, nil), nil)
	r.start()
	stop := r.run()
	r.awaitTick(30)
	r.srv.DropConnections()
	r.awaitTick(r.plant.count() + 30)
	stop()
	r.sink.mu.Lock()
	defer r.sink.mu.Unlock()
	var last uint64
	sessions := map[string]bool{}
	for _, b := range r.sink.batches {
		sessions[b.Session] = true
		for _, s := range b.Samples {
			if s.Position <= last {
				t.Fatalf("position %d comes after %d", s.Position, last)
			}
			last = s.Position
		}
	}
	if len(sessions) != 1 {
		t.Errorf("sessions %v, want one", sessions)
	}
	for name := range sessions {
		if want := namespace + ":server|"; !strings.HasPrefix(name, want) {
			t.Errorf("session %q, want it to begin with %q", name, want)
		}
	}
}

func TestManyTagsWithinFewOperationsPerCall(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(o *uaserver.Options) {
		withHistory(o)
		o.Limits.MaxMonitoredItemsPerCall, o.Limits.MaxNodesPerHistoryRead = 100, 7
	})
	for i := range 500 {
		name := fmt.Sprintf("M%d", i)
		p.srv.Add(name, uaserver.Variable{Value: int64(i), At: p.at})
		p.tags = append(p.tags, pipeline.Tag{ID: name, Address: "nsu=" + namespace + ";s=" + name, Asset: "a/b/c/L1"})
	}
	r := newRig(t, p, nil)
	r.start()
	r.await("all tags are there", func() bool { return len(r.sink.samples("")) >= len(p.tags) })
	got := map[string]int{}
	for _, s := range r.sink.samples("") {
		got[s.Tag]++
	}
	want := map[string]int{}
	for _, tag := range p.tags {
		want[tag.ID] = 1
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("samples per tag differ (-want +got):\n%s", diff)
	}
}
