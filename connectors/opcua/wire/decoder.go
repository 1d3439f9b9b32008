package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"
)

const (
	null = 0xFFFFFFFF // length of an absent string or array
	// maxDepth bounds values within values (Part 6 5.1.5 asks decoders to stand at least 100 levels).
	maxDepth = 100
	// maxElements bounds arrays, and the changes of one message: a byte on the wire can become a hundred in memory.
	maxElements = 1<<20 - 1
)

var errTruncated = fmt.Errorf("the message ends too early: %w", ua.StatusBadDecodingError)

// Decoder reads OPC UA binary. After the first error every read returns zero values; the error stays in err.
type Decoder struct {
	b     []byte
	i     int
	depth int
	err   error
}

func (d *Decoder) fail(err error) {
	if d.err == nil {
		d.err = err
		d.i = len(d.b)
	}
}

// take returns the next n bytes, which belong to the message, or nil.
func (d *Decoder) take(n int) []byte {
	if n < 0 || n > len(d.b)-d.i {
		d.fail(errTruncated)
		return nil
	}
	d.i += n
	return d.b[d.i-n : d.i : d.i]
}

func (d *Decoder) u8() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *Decoder) u16() uint16 {
	if b := d.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (d *Decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *Decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *Decoder) f64() float64 { return math.Float64frombits(d.u64()) }

// bytes reads a byte string; an absent one is nil.
func (d *Decoder) bytes() []byte {
	n := d.u32()
	if n >= 1<<31 {
		return nil
	}
	return d.take(int(n))
}

// text reads a string. Bytes that are not UTF-8 are replaced: nothing downstream could carry them.
func (d *Decoder) text() string { return strings.ToValidUTF8(string(d.bytes()), "\uFFFD") }

// count reads the length of an array whose elements take at least size bytes each; an absent array has none.
func (d *Decoder) count(size int) int {
	n := d.u32()
	if n >= 1<<31 {
		return 0
	}
	if n > maxElements {
		d.fail(fmt.Errorf("an array of %d elements: %w", n, ua.StatusBadEncodingLimitsExceeded))
		return 0
	}
	if int(n) > (len(d.b)-d.i)/size {
		d.fail(fmt.Errorf("an array of %d elements in %d bytes: %w", n, len(d.b)-d.i, ua.StatusBadDecodingError))
		return 0
	}
	return int(n)
}

// enter guards recursion; leave undoes it.
func (d *Decoder) enter() bool {
	d.depth++
	if d.depth > maxDepth {
		d.fail(fmt.Errorf("values nested deeper than %d: %w", maxDepth, ua.StatusBadEncodingLimitsExceeded))
		return false
	}
	return d.err == nil
}

func (d *Decoder) leave() { d.depth-- }

// epoch is 1970 in ticks of 100 ns since 1601 (Part 6 5.2.2.5).
const epoch = 116444736000000000

// Clock times that nanoseconds since 1970 in 64 bits can hold.
var (
	minTime = time.Unix(0, math.MinInt64).UTC()
	maxTime = time.Unix(0, math.MaxInt64).UTC()
)

// when reads a date. Dates before 1677 and after 2262 are clamped; zero means absent and is the zero time.
func (d *Decoder) when() (t time.Time, clamped bool) {
	ticks := int64(d.u64())
	switch {
	case ticks == 0 || d.err != nil:
		return time.Time{}, false
	case ticks < epoch+math.MinInt64/100:
		return minTime, true
	case ticks > epoch+math.MaxInt64/100:
		return maxTime, true
	}
	return time.Unix(0, (ticks-epoch)*100).UTC(), false
}

// node reads a NodeId, or with expanded the longer form, and renders it as text: i=85, ns=2;s=Speed.
func (d *Decoder) node(expanded bool) string {
	form := d.u8()
	var ns uint16
	var id string
	switch form & 0x3F {
	case 0:
		id = fmt.Sprintf("i=%d", d.u8())
	case 1:
		ns = uint16(d.u8())
		id = fmt.Sprintf("i=%d", d.u16())
	case 2:
		ns = d.u16()
		id = fmt.Sprintf("i=%d", d.u32())
	case 3:
		ns = d.u16()
		id = "s=" + d.text()
	case 4:
		ns = d.u16()
		id = "g=" + d.guid()
	case 5:
		ns = d.u16()
		id = "b=" + base64(d.bytes())
	default:
		d.fail(fmt.Errorf("node id of form %d: %w", form, ua.StatusBadDecodingError))
	}
	uri := ""
	if expanded && form&0x80 != 0 {
		uri = d.text()
	}
	if expanded && form&0x40 != 0 {
		d.u32() // server index
	}
	switch {
	case uri != "":
		return "nsu=" + uri + ";" + id
	case ns != 0:
		return fmt.Sprintf("ns=%d;%s", ns, id)
	}
	return id
}

func (d *Decoder) guid() string {
	a, b, c, e := d.u32(), d.u16(), d.u16(), d.take(8)
	if e == nil {
		return ""
	}
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", a, b, c, e[:2], e[2:])
}

// localized reads a LocalizedText and returns its text.
func (d *Decoder) localized() string {
	mask := d.u8()
	if mask&1 != 0 {
		d.text()
	}
	if mask&2 != 0 {
		return d.text()
	}
	return ""
}

func (d *Decoder) qualified() string {
	ns, name := d.u16(), d.text()
	if ns == 0 {
		return name
	}
	return fmt.Sprintf("%d:%s", ns, name)
}

// skipDiagnostic reads over a DiagnosticInfo.
func (d *Decoder) skipDiagnostic() {
	if !d.enter() {
		return
	}
	defer d.leave()
	mask := d.u8()
	for bit := byte(1); bit <= 8; bit <<= 1 { // symbolic id, namespace, locale, text
		if mask&bit != 0 {
			d.u32()
		}
	}
	if mask&0x10 != 0 {
		d.text()
	}
	if mask&0x20 != 0 {
		d.u32()
	}
	if mask&0x40 != 0 {
		d.skipDiagnostic()
	}
}

// object reads the frame of an ExtensionObject: its type and its body, nil when it has none.
func (d *Decoder) object() (typeID string, encoding byte, body []byte) {
	typeID = d.node(false)
	encoding = d.u8()
	switch encoding {
	case 0:
		return typeID, encoding, nil
	case 1, 2:
		return typeID, encoding, d.bytes()
	}
	d.fail(errors.Join(errors.New("extension object of unknown encoding"), ua.StatusBadDecodingError))
	return typeID, encoding, nil
}
