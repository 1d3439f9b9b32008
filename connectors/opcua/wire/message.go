package wire

import (
	"fmt"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
)

// maxGeneric bounds what the library's recursive decoder gets: half a megabyte nested as deep as it can be stays far
// below the stack's limit, beyond which the process would end. Our own decoder has no such bound.
const maxGeneric = 512 << 10

// Publish is the answer to a PublishRequest.
type Publish struct {
	Header       Header
	Subscription uint32
	Available    []uint32 // sequence numbers that Republish can still give
	More         bool     // the server has further notifications ready
	Message      Message
	Results      []ua.StatusCode // of the acknowledgements
}

// Message is one notification message of a subscription. Without Changes and Status it is a keep-alive, whose
// Sequence is that of the message that will come next.
type Message struct {
	Sequence  uint32
	Published time.Time
	Changes   []Change
	Status    ua.StatusCode // of a StatusChangeNotification
	Changed   bool          // a StatusChangeNotification was in it
	KeepAlive bool
}

// Change is one new value of a monitored item.
type Change struct {
	Handle uint32 // the client's handle
	DataValue
}

// Read is the answer to a ReadRequest.
type Read struct {
	Header Header
	Values []DataValue
}

// HistoryRead is the answer to a HistoryReadRequest.
type HistoryRead struct {
	Header  Header
	Results []History
}

// History is one page of one node.
type History struct {
	Status ua.StatusCode
	Point  []byte // continuation point, nil when nothing is left
	Values []DataValue
}

// Header is what is used of a ResponseHeader.
type Header struct {
	At     time.Time // the server's clock
	Result ua.StatusCode
}

// Decode returns the answer: *Publish, *Message (of a Republish), *Read, *HistoryRead, or gopcua's type of any other
// service. A Bad service result is returned as an error that is a ua.StatusCode.
func (r Reply) Decode() (v any, err error) {
	if r.Err != nil {
		return nil, r.Err
	}
	defer func() {
		if p := recover(); p != nil { // the library's decoder panics on some malformed input
			v, err = nil, fmt.Errorf("decoding an answer: %v: %w", p, ua.StatusBadDecodingError)
		}
	}()
	d := Decoder{b: r.raw}
	kind := d.node(false)
	h := d.responseHeader()
	if d.err != nil {
		return nil, fmt.Errorf("decoding the header of an answer: %w", d.err)
	}
	if Bad(h.Result) {
		return nil, h.Result
	}
	switch kind {
	case typeText(id.PublishResponse_Encoding_DefaultBinary):
		v = d.publish(h)
	case typeText(id.RepublishResponse_Encoding_DefaultBinary):
		m := d.message()
		v = &m
	case typeText(id.ReadResponse_Encoding_DefaultBinary):
		v = d.readResponse(h)
	case typeText(id.HistoryReadResponse_Encoding_DefaultBinary):
		v = d.historyResponse(h)
	default:
		return generic(r.raw)
	}
	if d.err != nil {
		return nil, fmt.Errorf("decoding an answer: %w", d.err)
	}
	return v, nil
}

// Bad reports the severity of a status code.
func Bad(code ua.StatusCode) bool { return code&0x80000000 != 0 }

func typeText(n uint32) string { return fmt.Sprintf("i=%d", n) }

func generic(raw []byte) (any, error) {
	if len(raw) > maxGeneric {
		return nil, fmt.Errorf("an answer of %d bytes: %w", len(raw), ua.StatusBadResponseTooLarge)
	}
	_, v, err := ua.DecodeService(raw)
	if err != nil {
		return nil, fmt.Errorf("decoding an answer: %w", err)
	}
	return v, nil
}

func (d *Decoder) responseHeader() Header {
	var h Header
	h.At, _ = d.when()
	d.u32() // request handle
	h.Result = ua.StatusCode(d.u32())
	d.skipDiagnostic()
	for range d.count(4) {
		d.bytes()
	}
	d.object()
	return h
}

func (d *Decoder) publish(h Header) *Publish {
	p := &Publish{Header: h, Subscription: d.u32()}
	p.Available = make([]uint32, d.count(4))
	for i := range p.Available {
		p.Available[i] = d.u32()
	}
	p.More = d.u8() != 0
	p.Message = d.message()
	p.Results = make([]ua.StatusCode, d.count(4))
	for i := range p.Results {
		p.Results[i] = ua.StatusCode(d.u32())
	}
	return p
}

func (d *Decoder) message() Message {
	m := Message{Sequence: d.u32()}
	m.Published, _ = d.when()
	n := d.count(3)
	m.KeepAlive = n == 0
	for range n {
		kind, encoding, body := d.object()
		if d.err != nil || encoding != 1 {
			continue
		}
		in := Decoder{b: body}
		switch kind {
		case typeText(id.DataChangeNotification_Encoding_DefaultBinary):
			m.Changes = in.changes(m.Changes)
		case typeText(id.StatusChangeNotification_Encoding_DefaultBinary):
			m.Status, m.Changed = ua.StatusCode(in.u32()), true
		}
		if in.err != nil {
			d.fail(in.err)
		}
	}
	return m
}

func (d *Decoder) changes(out []Change) []Change {
	n := d.count(5)
	if out == nil {
		out = make([]Change, 0, n)
	}
	for range n {
		if d.err != nil {
			return out
		}
		out = append(out, Change{Handle: d.u32(), DataValue: d.value()})
	}
	return out
}

func (d *Decoder) readResponse(h Header) *Read {
	r := &Read{Header: h, Values: d.values()}
	return r
}

func (d *Decoder) values() []DataValue {
	out := make([]DataValue, d.count(1))
	for i := range out {
		if d.err != nil {
			return nil
		}
		out[i] = d.value()
	}
	return out
}

func (d *Decoder) historyResponse(h Header) *HistoryRead {
	r := &HistoryRead{Header: h, Results: make([]History, d.count(4+4+3))}
	for i := range r.Results {
		if d.err != nil {
			return nil
		}
		res := &r.Results[i]
		res.Status = ua.StatusCode(d.u32())
		if p := d.bytes(); len(p) > 0 {
			res.Point = p
		}
		kind, encoding, body := d.object()
		if encoding != 1 || kind != typeText(id.HistoryData_Encoding_DefaultBinary) {
			continue
		}
		in := Decoder{b: body}
		res.Values = in.values()
		if in.err != nil {
			d.fail(in.err)
		}
	}
	return r
}

// ValueOf returns what a value that we write looks like when it is read back.
func ValueOf(v *ua.Variant) (DataValue, error) {
	b, err := v.Encode()
	if err != nil {
		return DataValue{}, fmt.Errorf("encoding a value: %w", err)
	}
	d := Decoder{b: b}
	var out DataValue
	d.variant(&out)
	return out, d.err
}
