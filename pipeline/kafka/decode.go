package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/segmentio/kafka-go/compress"
)

// maxInflated bounds what one batch may decompress to.
const maxInflated = 64 << 20

// reader decodes the record set of one fetch.
type reader struct {
	topic     string
	partition int32
	from      int64 // records before it are dropped: a batch is returned whole
	committed bool  // drop what aborted transactions wrote
	aborted   []abortedTxn
	active    map[int64]bool // producers whose transaction is known to be aborted
	budget    int            // bytes that may still be decompressed in this fetch
	out       []Record
	next      int64 // the offset behind everything decoded
}

// read decodes the batches of raw; the last one may be cut off. What was decoded before an error is in out.
func (d *reader) read(raw []byte) error {
	sort.Slice(d.aborted, func(i, j int) bool { return d.aborted[i].FirstOffset < d.aborted[j].FirstOffset })
	d.active = map[int64]bool{}
	for len(raw) >= batchHeader {
		n := int(int32(binary.BigEndian.Uint32(raw[atLength:]))) + atLength + 4
		if n < batchHeader {
			return d.bad(raw, d.next, fmt.Errorf("it claims a length of %d bytes", n))
		}
		if n > len(raw) {
			return nil
		}
		if err := d.batch(raw[:n]); err != nil {
			if errors.Is(err, errBudget) {
				return nil // the rest comes with the next fetch
			}
			return err
		}
		raw = raw[n:]
	}
	return nil
}

func (d *reader) bad(b []byte, next int64, err error) error {
	base := int64(binary.BigEndian.Uint64(b))
	if d.out != nil || d.next > d.from {
		return errBudget // hand out what is good first; the next fetch begins with the bad batch
	}
	return &Unreadable{Topic: d.topic, Partition: d.partition, Offset: base, Next: max(next, base+1, d.from+1), Err: err}
}

// errBudget ends one fetch early; what follows comes with the next.
var errBudget = errors.New("enough for one fetch")

func (d *reader) batch(b []byte) error {
	be := binary.BigEndian
	base := int64(be.Uint64(b))
	end := base + int64(int32(be.Uint32(b[atLastDelta:]))) + 1
	if b[atMagic] != 2 {
		return d.bad(b, base+1, fmt.Errorf("message format %d is older than Kafka 0.11", b[atMagic]))
	}
	if sum := crc32.Checksum(b[atAttributes:], castagnoli()); sum != be.Uint32(b[atCRC:]) {
		return d.bad(b, end, errors.New("its checksum is wrong"))
	}
	attr, pid := be.Uint16(b[atAttributes:]), int64(be.Uint64(b[atProducerID:]))
	for len(d.aborted) > 0 && d.aborted[0].FirstOffset <= base {
		d.active[d.aborted[0].ProducerID] = true
		d.aborted = d.aborted[1:]
	}
	switch {
	case end <= d.from: // a compacted or already read batch
	case attr&attrControl != 0:
		if aborts(b[batchHeader:]) {
			delete(d.active, pid)
		}
	case d.committed && attr&attrTransactional != 0 && d.active[pid]:
	default:
		if err := d.records(b, base, end, attr); err != nil {
			return err
		}
	}
	d.next = max(d.next, end)
	return nil
}

// aborts reports whether a control batch ends its transaction by an abort: the key is version and type, 0 for abort.
func aborts(body []byte) bool {
	c := cursor{b: body}
	c.varint() // length
	c.skip(1)
	c.varint()
	c.varint()
	key := c.bytes()
	return c.err == nil && len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0
}

func (d *reader) records(b []byte, base, end int64, attr uint16) error {
	body := b[batchHeader:]
	if codec := compress.Compression(attr & 7); codec != compress.None {
		if d.budget <= 0 && d.out != nil {
			return errBudget
		}
		plain, err := inflate(body, codec, maxInflated)
		if err != nil {
			return d.bad(b, end, err)
		}
		body = plain
		d.budget -= len(plain)
	}
	count := int(int32(binary.BigEndian.Uint32(b[atCount:])))
	if count < 0 || count > len(body) {
		return d.bad(b, end, fmt.Errorf("it claims %d records in %d bytes", count, len(body)))
	}
	first, last := int64(binary.BigEndian.Uint64(b[atBaseTime:])), int64(binary.BigEndian.Uint64(b[atMaxTime:]))
	kept := len(d.out)
	c := cursor{b: body}
	for range count {
		r, delta := c.record()
		if c.err != nil {
			d.out = d.out[:kept:kept]
			if kept == 0 {
				d.out = nil
			}
			return d.bad(b, end, c.err)
		}
		r.Topic, r.Partition, r.Offset = d.topic, d.partition, base+r.Offset
		at := first + delta
		if attr&attrAppendTime != 0 {
			at = last
		}
		r.Time = time.UnixMilli(at).UTC()
		if r.Offset >= d.from {
			d.out = append(d.out, r)
		}
	}
	return nil
}

// inflate decompresses at most limit bytes.
func inflate(b []byte, codec compress.Compression, limit int) ([]byte, error) {
	if codec == compress.Snappy {
		return unsnappy(b, limit)
	}
	k := codec.Codec()
	if k == nil {
		return nil, fmt.Errorf("compression %d is not known", codec)
	}
	r := k.NewReader(bytes.NewReader(b))
	defer r.Close()
	out := make([]byte, 0, min(limit, 4*len(b)+512)+1)
	for {
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case len(out) > limit:
			return nil, fmt.Errorf("decompressing %s: it grows beyond %d MiB", codec, limit>>20)
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("decompressing %s: %w", codec, err)
		case len(out) == cap(out):
			out = append(make([]byte, 0, min(limit, 2*cap(out))+1), out...)
		}
	}
}

// unsnappy decodes both framings that Kafka clients use: one raw block, or snappy-java's blocks behind a header of
// 16 bytes, each with its length in front. A block's claimed size is checked before it is allocated.
func unsnappy(b []byte, limit int) ([]byte, error) {
	xerial := []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}
	if !bytes.HasPrefix(b, xerial) || len(b) < 16 {
		return appendSnappy(nil, b, limit)
	}
	var out []byte
	for b = b[16:]; len(b) >= 4; {
		n := int(int32(binary.BigEndian.Uint32(b)))
		if n < 0 || n > len(b)-4 {
			return nil, errors.New("decompressing snappy: a block is cut off")
		}
		var err error
		if out, err = appendSnappy(out, b[4:4+n], limit); err != nil {
			return nil, err
		}
		b = b[4+n:]
	}
	return out, nil
}

func appendSnappy(dst, block []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, fmt.Errorf("decompressing snappy: %w", err)
	}
	if n > limit-len(dst) {
		return nil, fmt.Errorf("decompressing snappy: it grows beyond %d MiB", limit>>20)
	}
	plain, err := snappy.Decode(nil, block)
	if err != nil {
		return nil, fmt.Errorf("decompressing snappy: %w", err)
	}
	if dst == nil {
		return plain, nil
	}
	return append(dst, plain...), nil
}
