package wire

import (
	"bytes"
	b64 "encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/pipeline"
)

// DataValue is a value with its quality and times.
type DataValue struct {
	Value   pipeline.Value
	Type    ua.TypeID // built-in type, of the elements when Array is set
	Array   bool
	Status  pipeline.Quality
	Source  time.Time // zero when the server gave none
	Server  time.Time
	Clamped bool // a date was outside the representable range
}

const (
	hasValue = 1 << iota
	hasStatus
	hasSource
	hasServer
	hasSourcePico
	hasServerPico
)

const (
	arrayBit      = 0x80
	dimensionsBit = 0x40
)

// value reads a DataValue (Part 6 5.2.2.17).
func (d *Decoder) value() DataValue {
	var v DataValue
	if !d.enter() {
		return v
	}
	defer d.leave()
	mask := d.u8()
	if mask&hasValue != 0 {
		d.variant(&v)
	}
	if mask&hasStatus != 0 {
		v.Status = pipeline.Quality(d.u32())
	}
	var clamped bool
	if mask&hasSource != 0 {
		v.Source, clamped = d.when()
		v.Clamped = v.Clamped || clamped
	}
	if mask&hasSourcePico != 0 {
		d.u16()
	}
	if mask&hasServer != 0 {
		v.Server, clamped = d.when()
		v.Clamped = v.Clamped || clamped
	}
	if mask&hasServerPico != 0 {
		d.u16()
	}
	return v
}

// variant reads a Variant into v. Scalars keep their type exactly; arrays and structures become JSON.
func (d *Decoder) variant(v *DataValue) {
	mask := d.u8()
	v.Type, v.Array = ua.TypeID(mask&0x3F), mask&arrayBit != 0
	if v.Type == ua.TypeIDNull {
		return
	}
	if !v.Array {
		v.Value = d.scalar(v)
		return
	}
	n := d.count(1)
	elements := make([][]byte, 0, n)
	for range n {
		if d.err != nil {
			return
		}
		elements = append(elements, d.element(v))
	}
	dims := []int{n}
	if mask&dimensionsBit != 0 {
		dims = d.dimensions(n)
	}
	v.Value = pipeline.JSON(string(nest(nil, elements, dims)))
}

// dimensions reads the shape of a matrix; one that does not fit its elements counts as flat.
func (d *Decoder) dimensions(elements int) []int {
	dims, total := make([]int, d.count(4)), 1
	for i := range dims {
		dims[i] = int(int32(d.u32()))
		if dims[i] <= 0 || total > elements {
			total = -1
			continue
		}
		total *= dims[i]
	}
	if len(dims) == 0 || total != elements {
		return []int{elements}
	}
	return dims
}

// nest renders a flat list of elements as nested JSON arrays.
func nest(out []byte, elements [][]byte, dims []int) []byte {
	out = append(out, '[')
	step := 1
	for _, n := range dims[1:] {
		step *= n
	}
	for i := 0; i < len(elements); i += step {
		if i > 0 {
			out = append(out, ',')
		}
		if len(dims) == 1 {
			out = append(out, elements[i]...)
		} else {
			out = nest(out, elements[i:i+step], dims[1:])
		}
	}
	return append(out, ']')
}

// scalar reads one value of v's type. v learns of clamped dates.
func (d *Decoder) scalar(v *DataValue) pipeline.Value {
	switch v.Type {
	case ua.TypeIDBoolean:
		return pipeline.Bool(d.u8() != 0)
	case ua.TypeIDSByte:
		return pipeline.Int(int64(int8(d.u8())))
	case ua.TypeIDByte:
		return pipeline.Uint(uint64(d.u8()))
	case ua.TypeIDInt16:
		return pipeline.Int(int64(int16(d.u16())))
	case ua.TypeIDUint16:
		return pipeline.Uint(uint64(d.u16()))
	case ua.TypeIDInt32:
		return pipeline.Int(int64(int32(d.u32())))
	case ua.TypeIDUint32, ua.TypeIDStatusCode:
		return pipeline.Uint(uint64(d.u32()))
	case ua.TypeIDInt64:
		return pipeline.Int(int64(d.u64()))
	case ua.TypeIDUint64:
		return pipeline.Uint(d.u64())
	case ua.TypeIDFloat:
		return pipeline.Float(math.Float32frombits(d.u32()))
	case ua.TypeIDDouble:
		return pipeline.Double(d.f64())
	case ua.TypeIDDateTime:
		t, clamped := d.when()
		if t.IsZero() {
			t, clamped = minTime, true // "no date" is the smallest one
		}
		v.Clamped = v.Clamped || clamped
		return pipeline.Time(t)
	case ua.TypeIDByteString:
		return pipeline.Bytes(d.bytes())
	}
	return d.compound(v)
}

// compound reads the types that are text or structures.
func (d *Decoder) compound(v *DataValue) pipeline.Value {
	switch v.Type {
	case ua.TypeIDString, ua.TypeIDXMLElement:
		return pipeline.Text(d.text())
	case ua.TypeIDGUID:
		return pipeline.Text(d.guid())
	case ua.TypeIDNodeID:
		return pipeline.Text(d.node(false))
	case ua.TypeIDExpandedNodeID:
		return pipeline.Text(d.node(true))
	case ua.TypeIDQualifiedName:
		return pipeline.Text(d.qualified())
	case ua.TypeIDLocalizedText:
		return pipeline.Text(d.localized())
	case ua.TypeIDExtensionObject:
		return pipeline.JSON(string(d.structure()))
	case ua.TypeIDDataValue:
		in := d.value()
		return pipeline.JSON(string(appendValue(nil, in.Value)))
	case ua.TypeIDVariant:
		if !d.enter() {
			return pipeline.Null()
		}
		defer d.leave()
		var in DataValue
		d.variant(&in)
		v.Clamped = v.Clamped || in.Clamped
		return pipeline.JSON(string(appendValue(nil, in.Value)))
	case ua.TypeIDDiagnosticInfo:
		d.skipDiagnostic()
		return pipeline.Null()
	}
	d.fail(fmt.Errorf("value of unknown type %d: %w", v.Type, ua.StatusBadDecodingError))
	return pipeline.Null()
}

// element reads one array element as JSON.
func (d *Decoder) element(v *DataValue) []byte { return appendValue(nil, d.scalar(v)) }

// structure reads an ExtensionObject as JSON: by its fields when the standard defines its type, else as it is.
func (d *Decoder) structure() []byte {
	from := d.i
	typeID, encoding, body := d.object()
	if d.err != nil {
		return nil
	}
	if encoding == 1 && len(body) <= maxGeneric {
		if out := standard(d.b[from:d.i]); out != nil {
			return out
		}
	}
	out := appendText([]byte(`{"type":`), typeID)
	out = appendText(append(out, `,"body":`...), base64(body))
	return append(out, '}')
}

// standard renders a structure that the OPC UA standard itself defines, nil for others.
func standard(b []byte) (out []byte) {
	defer func() {
		if recover() != nil {
			out = nil
		}
	}()
	var o ua.ExtensionObject
	if _, err := o.Decode(b); err != nil || o.Value == nil {
		return nil
	}
	out, err := json.Marshal(o.Value)
	if err != nil {
		return nil
	}
	return out
}

// appendValue renders a value as JSON. What JSON has no word for is text: NaN, Infinity, bytes in base64.
func appendValue(out []byte, v pipeline.Value) []byte {
	switch v.Type() {
	case pipeline.TypeNull:
		return append(out, "null"...)
	case pipeline.TypeBool:
		return strconv.AppendBool(out, v.AsBool())
	case pipeline.TypeInt:
		return strconv.AppendInt(out, v.AsInt(), 10)
	case pipeline.TypeUint:
		return strconv.AppendUint(out, v.AsUint(), 10)
	case pipeline.TypeFloat:
		return appendFloat(out, v.AsDouble(), 32)
	case pipeline.TypeDouble:
		return appendFloat(out, v.AsDouble(), 64)
	case pipeline.TypeBytes:
		return appendText(out, base64([]byte(v.AsText())))
	case pipeline.TypeTime:
		return appendText(out, v.AsTime().Format(time.RFC3339Nano))
	case pipeline.TypeJSON:
		return append(out, v.AsText()...)
	}
	return appendText(out, v.AsText())
}

func appendFloat(out []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(out, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(out, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(out, `"-Infinity"`...)
	}
	return strconv.AppendFloat(out, f, 'g', -1, bits)
}

func appendText(out []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	return append(out, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

func base64(b []byte) string { return b64.StdEncoding.EncodeToString(b) }
