package wire

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/pipeline"
)

// dateTime is a Variant of a DateTime with these ticks.
func dateTime(ticks int64) []byte { return binary.LittleEndian.AppendUint64([]byte{13}, uint64(ticks)) }

func TestDatesThatDoNotFitAreClampedAndNeverWrap(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ticks   int64
		want    time.Time
		clamped bool
	}{
		"zero":                {0, minTime, true},
		"one tick after 1601": {1, minTime, true},
		"negative":            {-1, minTime, true},
		"the largest":         {math.MaxInt64, maxTime, true},
		"the year 9999":       {2650467743990000000, maxTime, true},
		"1970":                {epoch, time.Unix(0, 0), false},
		"the last that fits":  {epoch + math.MaxInt64/100, time.Unix(0, math.MaxInt64/100*100), false},
		"the first that fits": {epoch + math.MinInt64/100, time.Unix(0, math.MinInt64/100*100), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Decoder{b: dateTime(tc.ticks)}
			var v DataValue
			d.variant(&v)
			if d.err != nil || !v.Value.AsTime().Equal(tc.want) || v.Clamped != tc.clamped {
				t.Errorf("got %v clamped %v (%v), want %v clamped %v", v.Value, v.Clamped, d.err, tc.want, tc.clamped)
			}
		})
	}
}

// Whatever a server sends ends in an error, at once and with little memory.
func TestMalformedValuesAreErrors(t *testing.T) {
	t.Parallel()
	array := func(kind byte, n uint32) []byte { return binary.LittleEndian.AppendUint32([]byte{kind | arrayBit}, n) }
	for name, b := range map[string][]byte{
		"nothing":                        {},
		"a type that does not exist":     {33},
		"a string longer than the rest":  {12, 0xFF, 0xFF, 0xFF, 0x7F},
		"an array longer than the rest":  array(11, 1<<30),
		"variants nested for ever":       []byte(strings.Repeat("\x18", 1<<20)),
		"data values nested for ever":    []byte(strings.Repeat("\x17\x01", 1<<20)),
		"diagnostics nested for ever":    append([]byte{25}, strings.Repeat("\x40", 1<<20)...),
		"a structure of unknown framing": {22, 0, 1, 9},
		"a node id of unknown form":      {17, 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Decoder{b: b}
			var v DataValue
			d.variant(&v)
			if d.err == nil {
				t.Errorf("got %v", v.Value)
			}
		})
	}
}

func TestAnAbsentArrayIsEmptyAndAMatrixThatDoesNotFitIsFlat(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		b    []byte
		want string
	}{
		"length -1": {[]byte{3 | arrayBit, 0xFF, 0xFF, 0xFF, 0xFF}, "[]"},
		"length -2": {[]byte{3 | arrayBit, 0xFE, 0xFF, 0xFF, 0xFF}, "[]"},
		"2 x 2":     {[]byte{3 | arrayBit | dimensionsBit, 4, 0, 0, 0, 1, 2, 3, 4, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0}, "[[1,2],[3,4]]"},
		"3 x 2 of 4": {
			[]byte{3 | arrayBit | dimensionsBit, 4, 0, 0, 0, 1, 2, 3, 4, 2, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0}, "[1,2,3,4]",
		},
		"-1 x -4": {
			[]byte{3 | arrayBit | dimensionsBit, 4, 0, 0, 0, 1, 2, 3, 4, 2, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFC, 0xFF, 0xFF, 0xFF}, "[1,2,3,4]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Decoder{b: tc.b}
			var v DataValue
			d.variant(&v)
			if d.err != nil || v.Value != pipeline.JSON(tc.want) {
				t.Errorf("got %v (%v), want %s", v.Value, d.err, tc.want)
			}
		})
	}
}

func TestStructuresAreReadableOrKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	known := ua.MustVariant(ua.NewExtensionObject(&ua.Range{Low: -1, High: 200}))
	unknown := []byte{22, 2, 5, 0, 0x39, 0x30, 0, 0, 1, 3, 0, 0, 0, 1, 2, 3} // ns=5;i=12345, three bytes
	known2, err := known.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		b    []byte
		want string
	}{
		"of the standard":     {known2, `{"Low":-1,"High":200}`},
		"of the server's own": {unknown, `{"type":"ns=5;i=12345","body":"AQID"}`},
	} {
		d := Decoder{b: tc.b}
		var v DataValue
		d.variant(&v)
		if d.err != nil || v.Value != pipeline.JSON(tc.want) {
			t.Errorf("%s: got %v (%v), want %s", name, v.Value, d.err, tc.want)
		}
	}
}

// response encodes an answer as a server sends it.
func response(t testing.TB, resp ua.Response) []byte {
	t.Helper()
	resp.SetHeader(&ua.ResponseHeader{
		Timestamp: time.Unix(1, 0), ServiceDiagnostics: &ua.DiagnosticInfo{}, StringTable: []string{"x"}, AdditionalHeader: ua.NewExtensionObject(nil),
	})
	body, err := ua.Encode(resp)
	if err != nil {
		t.Fatal(err)
	}
	n := ua.ServiceTypeID(resp)
	return append([]byte{1, 0, byte(n), byte(n >> 8)}, body...)
}

func publish(t testing.TB, changes int) []byte {
	t.Helper()
	n := &ua.DataChangeNotification{DiagnosticInfos: []*ua.DiagnosticInfo{}}
	for i := range changes {
		v := &ua.DataValue{Value: ua.MustVariant(float64(i)), SourceTimestamp: time.Unix(2, 0), ServerTimestamp: time.Unix(3, 0), Status: 0x480}
		v.UpdateMask()
		n.MonitoredItems = append(n.MonitoredItems, &ua.MonitoredItemNotification{ClientHandle: uint32(i), Value: v})
	}
	return response(t, &ua.PublishResponse{
		SubscriptionID: 7, AvailableSequenceNumbers: []uint32{4, 5}, MoreNotifications: true,
		NotificationMessage: &ua.NotificationMessage{SequenceNumber: 5, PublishTime: time.Unix(9, 0), NotificationData: []*ua.ExtensionObject{ua.NewExtensionObject(n)}},
		Results:             []ua.StatusCode{ua.StatusBadSequenceNumberUnknown}, DiagnosticInfos: []*ua.DiagnosticInfo{},
	})
}

func TestAPublishResponseIsDecodedExactly(t *testing.T) {
	t.Parallel()
	v, err := Reply{raw: publish(t, 3)}.Decode()
	p, ok := v.(*Publish)
	if err != nil || !ok {
		t.Fatalf("got %T, %v", v, err)
	}
	if p.Subscription != 7 || len(p.Available) != 2 || !p.More || p.Message.Sequence != 5 || p.Message.KeepAlive ||
		!p.Message.Published.Equal(time.Unix(9, 0)) || len(p.Results) != 1 {
		t.Errorf("got %+v", p)
	}
	c := p.Message.Changes[2]
	if c.Handle != 2 || c.Value != pipeline.Double(2) || !c.Status.Overflow() || !c.Source.Equal(time.Unix(2, 0)) || !c.Server.Equal(time.Unix(3, 0)) {
		t.Errorf("got %+v", c)
	}
}

func TestABadServiceResultIsItsStatusCode(t *testing.T) {
	t.Parallel()
	b := response(t, &ua.ReadResponse{Results: []*ua.DataValue{}, DiagnosticInfos: []*ua.DiagnosticInfo{}})
	binary.LittleEndian.PutUint32(b[4+8+4:], uint32(ua.StatusBadTooManyOperations))
	if _, err := (Reply{raw: b}).Decode(); !errors.Is(err, ua.StatusBadTooManyOperations) {
		t.Errorf("got %v", err)
	}
}

func TestChunksMustFollowEachOther(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		last, next uint32
		ok         bool
	}{
		"the next one":            {7, 8, true},
		"a replayed one":          {7, 7, false},
		"a skipped one":           {7, 9, false},
		"an old one":              {7, 1, false},
		"the wrap":                {math.MaxUint32 - 10, 1, true},
		"a wrap that is too soon": {math.MaxUint32 - 5000, 1, false},
	} {
		c := &Channel{received: tc.last, started: true}
		if err := c.checkSequence(tc.next); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnAnswerOfTooManyChunksOrBytesFailsAlone(t *testing.T) {
	t.Parallel()
	for name, part := range map[string][]byte{"bytes": make([]byte, 100), "chunks": nil} {
		out := make(chan Reply, 1)
		c := &Channel{cfg: Config{MaxMessageSize: 1000}, pending: map[uint32]chan<- Reply{1: out}, partial: map[uint32]*partial{}}
		for range maxPartialChunks + 2 {
			if err := c.assemble(1, 'C', part); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		select {
		case r := <-out:
			if !errors.Is(r.Err, ua.StatusBadResponseTooLarge) {
				t.Errorf("%s: %v", name, r.Err)
			}
		default:
			t.Errorf("%s: no answer", name)
		}
		if len(c.partial) != 0 {
			t.Errorf("%s: chunks that nobody waits for are kept", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(publish(f, 2))
	f.Add(response(f, &ua.ReadResponse{Results: []*ua.DataValue{{EncodingMask: 1, Value: ua.MustVariant([]string{"a"})}}, DiagnosticInfos: []*ua.DiagnosticInfo{}}))
	f.Add(response(f, &ua.HistoryReadResponse{
		Results:         []*ua.HistoryReadResult{{HistoryData: ua.NewExtensionObject(&ua.HistoryData{DataValues: []*ua.DataValue{{EncodingMask: 1, Value: ua.MustVariant(int64(1))}}})}},
		DiagnosticInfos: []*ua.DiagnosticInfo{},
	}))
	f.Add(response(f, &ua.CreateSubscriptionResponse{SubscriptionID: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Reply{raw: b}.Decode()
		if err == nil && v == nil {
			t.Error("neither an answer nor an error")
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	raw := publish(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Reply{raw: raw}).Decode(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "changes/s")
}

// Decoding numbers allocates per message, not per value.
func TestNumbersAreDecodedWithoutAllocations(t *testing.T) {
	raw := publish(t, 1000)
	n := testing.AllocsPerRun(10, func() { _, _ = Reply{raw: raw}.Decode() })
	if n > 50 {
		t.Errorf("%v allocations for 1000 values", n)
	}
}
