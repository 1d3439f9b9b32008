package uaserver_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/internal/uaserver"
)

func historyServer(t *testing.T, perPage uint32) (*uaserver.Server, *raw) {
	t.Helper()
	s := start(t, func(o *uaserver.Options) {
		o.History = &uaserver.MemoryHistory{}
		o.Limits.MaxHistoryValues, o.Limits.MaxHistoryContinuationPoints = perPage, 2
	})
	v := s.Add("v", uaserver.Variable{Value: int32(0), At: at(0), Historize: true})
	s.Add("plain", uaserver.Variable{Value: int32(0), At: at(0)})
	for i := int32(1); i < 10; i++ {
		v.Set(i, ua.StatusOK, at(int(i/2))) // two values share each source time
	}
	return s, connect(t, s, anonymous())
}

func (r *raw) history(s *uaserver.Server, name string, d *ua.ReadRawModifiedDetails, point []byte, release bool) *ua.HistoryReadResult {
	r.Helper()
	return must[*ua.HistoryReadResponse](r, &ua.HistoryReadRequest{
		HistoryReadDetails: ua.NewExtensionObject(d), TimestampsToReturn: ua.TimestampsToReturnBoth, ReleaseContinuationPoints: release,
		NodesToRead: []*ua.HistoryReadValueID{{NodeID: ua.NewStringNodeID(s.Namespace(), name), DataEncoding: &ua.QualifiedName{}, ContinuationPoint: point}},
	}).Results[0]
}

func historyValues(r *ua.HistoryReadResult) []int32 {
	out := []int32{}
	if r.HistoryData == nil || r.HistoryData.Value == nil {
		return out
	}
	for _, v := range r.HistoryData.Value.(*ua.HistoryData).DataValues {
		out = append(out, v.Value.Value().(int32))
	}
	return out
}

func TestHistoryReadsRawValues(t *testing.T) {
	t.Parallel()
	s, r := historyServer(t, 100)
	max := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name     string
		variable string
		d        ua.ReadRawModifiedDetails
		code     ua.StatusCode
		want     []int32
	}{
		{"start is included and end is not", "v", ua.ReadRawModifiedDetails{StartTime: at(1), EndTime: at(3)}, 0, []int32{2, 3, 4, 5}},
		{"one instant", "v", ua.ReadRawModifiedDetails{StartTime: at(2), EndTime: at(2)}, 0, []int32{4, 5}},
		{"backwards", "v", ua.ReadRawModifiedDetails{StartTime: at(3), EndTime: at(1)}, 0, []int32{7, 6, 5, 4}},
		{"from a start, no end", "v", ua.ReadRawModifiedDetails{StartTime: at(4), NumValuesPerNode: 50}, 0, []int32{8, 9}},
		{"before an end, no start", "v", ua.ReadRawModifiedDetails{EndTime: at(0), NumValuesPerNode: 50}, 0, []int32{1, 0}},
		{"an end beyond the data", "v", ua.ReadRawModifiedDetails{StartTime: at(4), EndTime: max}, 0, []int32{8, 9}},
		{"nothing there", "v", ua.ReadRawModifiedDetails{StartTime: at(40), EndTime: at(50)}, ua.StatusGoodNoData, []int32{}},
		{"too little given", "v", ua.ReadRawModifiedDetails{StartTime: at(1)}, ua.StatusBadInvalidArgument, []int32{}},
		{"modified values", "v", ua.ReadRawModifiedDetails{StartTime: at(1), EndTime: at(3), IsReadModified: true}, ua.StatusBadHistoryOperationUnsupported, []int32{}},
		{"a variable without history", "plain", ua.ReadRawModifiedDetails{StartTime: at(1), EndTime: at(3)}, ua.StatusBadHistoryOperationUnsupported, []int32{}},
		{"no such variable", "nope", ua.ReadRawModifiedDetails{StartTime: at(1), EndTime: at(3)}, ua.StatusBadNodeIDUnknown, []int32{}},
	} {
		res := r.history(s, c.variable, &c.d, nil, false)
		if res.StatusCode != c.code {
			t.Errorf("%s: %v, want %v", c.name, res.StatusCode, c.code)
		}
		if d := cmp.Diff(c.want, historyValues(res)); d != "" || len(res.ContinuationPoint) != 0 {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestHistoryPagesEvenInsideOneInstant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		d     ua.ReadRawModifiedDetails
		pages [][]int32
	}{
		{"forwards", ua.ReadRawModifiedDetails{StartTime: at(0), EndTime: at(4)}, [][]int32{{0, 1, 2}, {3, 4, 5}, {6, 7}}},
		{"backwards", ua.ReadRawModifiedDetails{StartTime: at(4), EndTime: at(1)}, [][]int32{{9, 8, 7}, {6, 5, 4}}},
		{"number per node", ua.ReadRawModifiedDetails{StartTime: at(0), EndTime: at(2), NumValuesPerNode: 1}, [][]int32{{0}, {1}, {2}, {3}}},
	} {
		s, r := historyServer(t, 3)
		var got [][]int32
		var point []byte
		for {
			res := r.history(s, "v", &c.d, point, false)
			if res.StatusCode != ua.StatusOK {
				t.Fatalf("%s: %v", c.name, res.StatusCode)
			}
			got = append(got, historyValues(res))
			if point = res.ContinuationPoint; len(point) == 0 {
				break
			}
		}
		if d := cmp.Diff(c.pages, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if n := s.Stats().HistoryContinuationPoints; n != 0 {
			t.Errorf("%s: %d points kept", c.name, n)
		}
	}
}

func TestHistoryContinuationPointsAreReleasedAndLimited(t *testing.T) {
	t.Parallel()
	s, r := historyServer(t, 3)
	all := &ua.ReadRawModifiedDetails{StartTime: at(0), EndTime: at(9)}
	first := r.history(s, "v", all, nil, false)
	r.history(s, "v", all, nil, false)
	if third := r.history(s, "v", all, nil, false); third.StatusCode != ua.StatusBadNoContinuationPoints {
		t.Errorf("third point: %v", third.StatusCode)
	}
	if res := r.history(s, "v", all, first.ContinuationPoint, true); res.StatusCode != ua.StatusOK || len(historyValues(res)) != 0 {
		t.Errorf("release: %+v", res)
	}
	if n := s.Stats().HistoryContinuationPoints; n != 1 {
		t.Errorf("%d points left", n)
	}
	if res := r.history(s, "v", all, first.ContinuationPoint, false); res.StatusCode != ua.StatusBadContinuationPointInvalid {
		t.Errorf("released point: %v", res.StatusCode)
	}
}

func TestHistoryAnswersTheHighLevelClient(t *testing.T) {
	t.Parallel()
	s, _ := historyServer(t, 4)
	c, err := opcua.NewClient(s.URL(), opcua.AutoReconnect(false))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(t.Context()) })
	var got []int32
	var point []byte
	for {
		res, err := c.HistoryReadRawModified(t.Context(), []*ua.HistoryReadValueID{{
			NodeID: ua.NewStringNodeID(s.Namespace(), "v"), DataEncoding: &ua.QualifiedName{}, ContinuationPoint: point,
		}}, &ua.ReadRawModifiedDetails{StartTime: at(0), EndTime: at(9)})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, historyValues(res.Results[0])...)
		if point = res.Results[0].ContinuationPoint; len(point) == 0 {
			break
		}
	}
	if d := cmp.Diff([]int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, got); d != "" {
		t.Error(d)
	}
}

func TestMemoryHistorySortsLateValuesAndForgetsTheOldest(t *testing.T) {
	t.Parallel()
	h := &uaserver.MemoryHistory{PerVariable: 3}
	for _, sec := range []int{1, 3, 2, 4} {
		h.Append("v", &ua.DataValue{Value: ua.MustVariant(int32(sec)), SourceTimestamp: at(sec)})
	}
	got, more := h.Read("v", time.Time{}, time.Time{}, 0, 2)
	if len(got) != 2 || !more || got[0].Value.Value() != int32(2) || got[1].Value.Value() != int32(3) {
		t.Errorf("%v, more %v", got, more)
	}
}
