package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/segmentio/kafka-go/compress"
)

// Compression is how batches are compressed.
type Compression int8

// LZ4 is the default: it costs little and readers of every language have it.
const (
	LZ4 Compression = iota
	None
	Snappy
	Gzip
	Zstd
)

// wire is the codec's number in a batch's attributes.
func (c Compression) wire() compress.Compression {
	return [...]compress.Compression{compress.Lz4, compress.None, compress.Snappy, compress.Gzip, compress.Zstd}[c]
}

// Offsets into a record batch of magic 2 (Kafka protocol guide, "Record Batch").
const (
	atLength     = 8
	atMagic      = 16
	atCRC        = 17
	atAttributes = 21
	atLastDelta  = 23
	atBaseTime   = 27
	atMaxTime    = 35
	atProducerID = 43
	atEpoch      = 51
	atSequence   = 53
	atCount      = 57
	batchHeader  = 61

	attrTransactional = 1 << 4
	attrControl       = 1 << 5
	attrAppendTime    = 1 << 3
)

// compressFrom is the size below which compression does not pay.
const compressFrom = 256

// producerID is who writes a batch; seq counts the records of a partition.
type producerID struct {
	id    int64
	epoch int16
	txn   bool
}

// castagnoli returns the table of CRC-32C, which the standard library caches.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// encodeBatch returns one batch of recs with the length in front that a produce request wants.
// at is the time of every record, ms since 1970.
func encodeBatch(recs []*Record, at int64, codec Compression, p producerID, seq int32) ([]byte, error) {
	size := 0
	for _, r := range recs {
		size += r.size()
	}
	out := make([]byte, 4+batchHeader, 4+batchHeader+size)
	for i, r := range recs {
		out = appendRecord(out, i, r)
	}
	attr := uint16(0)
	if codec != None && len(out) > compressFrom {
		small, err := deflate(out[4+batchHeader:], codec)
		if err != nil {
			return nil, err
		}
		if len(small) < len(out)-4-batchHeader {
			out = append(out[:4+batchHeader], small...)
			attr = uint16(codec.wire())
		}
	}
	if p.txn {
		attr |= attrTransactional
	}
	be, b := binary.BigEndian, out[4:]
	be.PutUint32(out, uint32(len(b)))
	be.PutUint32(b[atLength:], uint32(len(b)-atLength-4))
	be.PutUint32(b[12:], 0xffffffff) // partition leader epoch: not known
	b[atMagic] = 2
	be.PutUint16(b[atAttributes:], attr)
	be.PutUint32(b[atLastDelta:], uint32(len(recs)-1))
	be.PutUint64(b[atBaseTime:], uint64(at))
	be.PutUint64(b[atMaxTime:], uint64(at))
	be.PutUint64(b[atProducerID:], uint64(p.id))
	be.PutUint16(b[atEpoch:], uint16(p.epoch))
	be.PutUint32(b[atSequence:], uint32(seq))
	be.PutUint32(b[atCount:], uint32(len(recs)))
	be.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], castagnoli()))
	return out, nil
}

func deflate(b []byte, codec Compression) ([]byte, error) {
	var buf bytes.Buffer
	w := codec.wire().Codec().NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// appendRecord appends the i-th record of a batch whose records all have the batch's time.
func appendRecord(dst []byte, i int, r *Record) []byte {
	body := 1 + 1 + varintLen(int64(i)) + bytesLen(r.Key) + bytesLen(r.Value) + varintLen(int64(len(r.Headers)))
	for j := range r.Headers {
		h := &r.Headers[j]
		body += varintLen(int64(len(h.Key))) + len(h.Key) + bytesLen(h.Value)
	}
	dst = binary.AppendVarint(dst, int64(body))
	dst = append(dst, 0, 0) // attributes, time delta
	dst = binary.AppendVarint(dst, int64(i))
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for j := range r.Headers {
		h := &r.Headers[j]
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendBytes(dst, h.Value)
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	dst = binary.AppendVarint(dst, int64(len(b)))
	return append(dst, b...)
}

func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

// varintLen is the length of v in zigzag base 128.
func varintLen(v int64) int {
	n := 1
	for u := uint64(v<<1) ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
