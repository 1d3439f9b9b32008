package broker

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
)

// The head of a record batch, format 2 (Kafka protocol, "Record Batch"), as
// kfake stores it, and an entry of its index file.
const (
	batchHead   = 61 // bytes before the records
	lengthEnd   = 12 // base offset and length, not counted by the length
	crcAt       = 17
	crcFrom     = 21 // what the checksum covers begins here
	entrySize   = 15
	attrTxn     = 1 << 4
	attrControl = 1 << 5
)

// batch is the head of one record batch.
type batch struct {
	base     int64
	epoch    int32 // of the partition's leader
	attrs    uint16
	producer int64
	pEpoch   int16
	seq      int32 // of its first record
	count    int32 // records
}

// scanner reads the log files of one partition in order.
type scanner struct {
	part partition
	crc  *crc32.Table
	open map[int64]bool    // producers with a transaction that has not ended
	seen map[int64]*window // by producer
}

func newScanner(p partition) *scanner {
	return &scanner{
		part: p, crc: crc32.MakeTable(crc32.Castagnoli),
		open: map[int64]bool{}, seen: map[int64]*window{},
	}
}

// segment reads one log file, mends its index file and returns how many bytes
// at the end are no intact batch: kfake cuts them off.
func (s *scanner) segment(seg segment) (cut int64, err error) {
	raw, err := os.ReadFile(seg.path)
	if err != nil {
		return 0, err
	}
	index := strings.TrimSuffix(seg.path, ".dat") + ".idx"
	have, err := os.ReadFile(index)
	if err != nil && !os.IsNotExist(err) {
		return 0, err
	}
	var want []byte
	for {
		b, size := s.parse(raw)
		if size == 0 {
			break
		}
		raw = raw[size:]
		s.batch(b)
		want = s.appendEntry(want, have, b)
	}
	if !slices.Equal(want, have) {
		err = replaceFile(index, want)
	}
	return int64(len(raw)), err
}

// parse returns the batch at the beginning of raw and its size, 0 when there
// is no intact one.
func (s *scanner) parse(raw []byte) (batch, int) {
	if len(raw) < batchHead {
		return batch{}, 0
	}
	length := binary.BigEndian.Uint32(raw[8:])
	if length < batchHead-lengthEnd || uint64(length) > uint64(len(raw)-lengthEnd) {
		return batch{}, 0
	}
	size := lengthEnd + int(length)
	if crc32.Checksum(raw[crcFrom:size], s.crc) != binary.BigEndian.Uint32(raw[crcAt:]) {
		return batch{}, 0
	}
	return batch{
		base:     int64(binary.BigEndian.Uint64(raw)),
		epoch:    int32(binary.BigEndian.Uint32(raw[12:])),
		attrs:    binary.BigEndian.Uint16(raw[21:]),
		producer: int64(binary.BigEndian.Uint64(raw[43:])),
		pEpoch:   int16(binary.BigEndian.Uint16(raw[51:])),
		seq:      int32(binary.BigEndian.Uint32(raw[53:])),
		count:    int32(binary.BigEndian.Uint32(raw[57:])),
	}, size
}

// batch follows the transactions and sequence numbers of producers.
func (s *scanner) batch(b batch) {
	switch {
	case b.producer < 0:
		return
	case b.attrs&attrControl != 0:
		delete(s.open, b.producer)
		return
	case b.attrs&attrTxn != 0:
		s.open[b.producer] = true
	}
	if b.seq < 0 {
		return
	}
	w := s.seen[b.producer]
	if w == nil || w.Epoch != b.pEpoch {
		w = &window{PID: b.producer, Topic: s.part.topic, Partition: s.part.number, Epoch: b.pEpoch, Seen: true}
		s.seen[b.producer] = w
	}
	// Sequence numbers start again after 2^31-1; kfake counts one less.
	w.NextSeq = int32((int64(b.seq) + int64(b.count)) % math.MaxInt32)
	w.Entries[w.At] = entry{FirstSeq: b.seq, NextSeq: w.NextSeq, Offset: b.base}
	w.At = (w.At + 1) % uint8(len(w.Entries))
	w.Count = min(w.Count+1, uint8(len(w.Entries)))
}

// appendEntry appends the index entry of a batch: the one that kfake wrote at
// this place when it agrees with the batch, else a new one.
func (s *scanner) appendEntry(want, have []byte, b batch) []byte {
	e := make([]byte, entrySize)
	e[0] = 1 // version
	binary.LittleEndian.PutUint32(e[2:], uint32(b.epoch))
	// The largest time stamp before the batch, bytes 6 to 13, is computed
	// afresh by kfake and not read.
	if b.attrs&attrTxn != 0 && b.attrs&attrControl == 0 {
		e[14] = 1
	}
	e[1] = byte(crc32.Checksum(e[2:], s.crc))
	if at := len(want); at+entrySize <= len(have) {
		old := have[at : at+entrySize]
		if old[14] == e[14] && slices.Equal(old[2:6], e[2:6]) && byte(crc32.Checksum(old[2:], s.crc)) == old[1] {
			e = old
		}
	}
	return append(want, e...)
}

func (s *scanner) openProducers() []int64 {
	return slices.Sorted(maps.Keys(s.open))
}

func (s *scanner) windows() []window {
	var list []window
	for _, producer := range slices.Sorted(maps.Keys(s.seen)) {
		list = append(list, *s.seen[producer])
	}
	return list
}

// replaceFile writes a file beside path and renames it over it.
func replaceFile(path string, data []byte) error {
	// kfake removes what is left of such a file at its start.
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
