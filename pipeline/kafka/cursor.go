package kafka

import (
	"encoding/binary"
	"errors"
)

var errTruncated = errors.New("a record is cut off")

// cursor reads the fields of records; after an error every further read gives zero.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail() {
	c.err, c.b = errTruncated, nil
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) skip(n int) {
	if n > len(c.b) {
		c.fail()
		return
	}
	c.b = c.b[n:]
}

// bytes returns a field with its length in front, nil for the length -1. The result shares memory with the batch.
func (c *cursor) bytes() []byte {
	n := c.varint()
	switch {
	case n == -1 || c.err != nil:
		return nil
	case n < 0 || n > int64(len(c.b)):
		c.fail()
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

// record reads one record; its Offset is the delta in the batch, and so is the time in ms.
func (c *cursor) record() (r Record, timeDelta int64) {
	n := c.varint()
	if n < 0 || n > int64(len(c.b)) {
		c.fail()
		return r, 0
	}
	in := cursor{b: c.b[:n]}
	c.b = c.b[n:]
	in.skip(1) // attributes, not used by Kafka
	timeDelta = in.varint()
	r.Offset = in.varint()
	r.Key, r.Value = in.bytes(), in.bytes()
	count := in.varint()
	if count < 0 || count > int64(len(in.b)) {
		in.fail()
	}
	if in.err == nil && count > 0 {
		r.Headers = make([]Header, 0, count)
		for range count {
			r.Headers = append(r.Headers, Header{Key: string(in.bytes()), Value: in.bytes()})
		}
	}
	if in.err != nil {
		c.fail()
	}
	return r, timeDelta
}
