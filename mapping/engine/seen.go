package engine

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/plantloom/plantloom/pipeline"
)

const (
	bucketWidth = int64(1e9)
	// maxSeen bounds what one asset remembers; beyond it the oldest go, which at such rates is still far behind the
	// watermark, where a repeat is late and cannot change a result.
	maxSeen = 1 << 16
)

// seenSet remembers what samples came, by buckets of event time (R7).
type seenSet struct {
	a       *asset
	buckets map[int64]*bucket
	size    int
	oldest  int64 // number of the bucket up to which expire has looked
}

type bucket struct {
	hashes map[uint64]struct{}
	cell   *cell
}

// add reports whether an equal sample is remembered, and remembers this one.
func (s *seenSet) add(x *pipeline.Sample, at int64) bool {
	h := identity(x, at)
	n := floorDiv(at, bucketWidth)
	b := s.buckets[n]
	if b == nil {
		b = s.bucket(n)
	}
	if _, ok := b.hashes[h]; ok {
		return true
	}
	b.hashes[h] = struct{}{}
	s.size++
	s.a.e.store.mark(b.cell)
	for s.size > maxSeen && len(s.buckets) > 1 {
		s.drop(slices.Min(slices.Collect(maps.Keys(s.buckets))))
	}
	return false
}

func (s *seenSet) bucket(n int64) *bucket {
	b := &bucket{hashes: map[uint64]struct{}{}}
	b.cell = s.a.e.store.dynamic(key("s", s.a.path, string(binary.BigEndian.AppendUint64(nil, uint64(n)))), func(e *encoder) {
		e.text(s.a.path)
		e.int(n)
		e.uint(uint64(len(b.hashes)))
		for _, h := range slices.Sorted(maps.Keys(b.hashes)) {
			e.fixed(h)
		}
	})
	s.buckets[n] = b
	return b
}

func (s *seenSet) drop(n int64) {
	b := s.buckets[n]
	s.size -= len(b.hashes)
	delete(s.buckets, n)
	s.a.e.store.remove(b.cell)
}

// expire forgets what is older than before.
func (s *seenSet) expire(before int64) {
	first := floorDiv(before, bucketWidth)
	if first == s.oldest {
		return
	}
	s.oldest = first
	for n := range s.buckets {
		if n < first {
			s.drop(n)
		}
	}
}

// restored takes a bucket of a snapshot.
func (s *seenSet) restored(d *decoder) {
	n := d.int()
	b := s.bucket(n)
	for range d.count() {
		b.hashes[d.fixed()] = struct{}{}
	}
	s.size += len(b.hashes)
	b.cell.live = true
}

// identity is a hash of what makes a sample the same as another: tag, source time, ordinal, status and value; an update
// of the history is not the same as the value that it replaces.
func identity(x *pipeline.Sample, at int64) uint64 {
	h := uint64(14695981039346656037)
	byte8 := func(v uint64) {
		for range 8 {
			h = (h ^ v&0xff) * 1099511628211
			v >>= 8
		}
	}
	text := func(t string) {
		byte8(uint64(len(t)))
		for i := range len(t) {
			h = (h ^ uint64(t[i])) * 1099511628211
		}
	}
	text(x.Tag)
	byte8(uint64(at))
	byte8(uint64(x.Ordinal)<<32 | uint64(x.Quality))
	byte8(uint64(x.Value.Type())<<8 | uint64(x.Op))
	byte8(x.Value.AsUint())
	text(x.Value.AsText())
	h ^= h >> 33 // so that neighbouring values spread over all bits
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
