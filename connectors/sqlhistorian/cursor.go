package sqlhistorian

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
)

// tail is how far the history is delivered: the cursor, and what a Run remembers.
type tail struct {
	floor  int64            // ms; rows at or before it are never read
	newest int64            // ms; time of the newest delivered row
	seen   map[uint64]int64 // hash of a delivered row -> its time, for the stretch that is read again
}

// maxSeen bounds the hashes in a cursor, the newest first. What does not fit is
// delivered again after a restart, and dropped by the engine as a repeat (R7).
const maxSeen = 4096

// cursorVersion changes when the form of cursorJSON or of rowHash does.
const cursorVersion = 1

type cursorJSON struct {
	Version int    `json:"v"`
	Floor   int64  `json:"floor"`
	Newest  int64  `json:"newest"`
	Seen    []byte `json:"seen,omitempty"` // pairs of hash and time, 16 bytes big-endian
}

// from returns the time after which a poll reads: the newest row minus the
// overlap. A history that stands still is so read from where it stopped, and what
// its gateway stores later is not missed.
func (t *tail) from(overlap int64) int64 {
	return max(t.floor, t.newest-overlap)
}

// forget drops the hashes of what is not read again.
func (t *tail) forget(overlap int64) {
	from := t.from(overlap)
	for hash, ms := range t.seen {
		if ms <= from {
			delete(t.seen, hash)
		}
	}
}

func (t *tail) encode() ([]byte, error) {
	hashes := make([]uint64, 0, len(t.seen))
	for hash := range t.seen {
		hashes = append(hashes, hash)
	}
	slices.SortFunc(hashes, func(a, b uint64) int {
		switch x, y := t.seen[a], t.seen[b]; {
		case x != y && x > y, x == y && a < b:
			return -1
		default:
			return 1
		}
	})
	c := cursorJSON{Version: cursorVersion, Floor: t.floor, Newest: t.newest}
	for _, hash := range hashes[:min(len(hashes), maxSeen)] {
		c.Seen = binary.BigEndian.AppendUint64(c.Seen, hash)
		c.Seen = binary.BigEndian.AppendUint64(c.Seen, uint64(t.seen[hash]))
	}
	return json.Marshal(c)
}

func decodeTail(cursor []byte) (*tail, error) {
	var c cursorJSON
	if err := json.Unmarshal(cursor, &c); err != nil {
		return nil, fmt.Errorf("decoding the cursor: %w", err)
	}
	if c.Version != cursorVersion || len(c.Seen)%16 != 0 {
		return nil, fmt.Errorf("decoding the cursor: version %d with %d bytes is not known to this program", c.Version, len(c.Seen))
	}
	t := &tail{floor: c.Floor, newest: c.Newest, seen: make(map[uint64]int64, len(c.Seen)/16)}
	for b := c.Seen; len(b) > 0; b = b[16:] {
		t.seen[binary.BigEndian.Uint64(b)] = int64(binary.BigEndian.Uint64(b[8:]))
	}
	return t, nil
}

// rowHash identifies a row by tag, time, status and value (R7).
func rowHash(tag string, r row) uint64 {
	b := make([]byte, 0, 128)
	b = append(b, tag...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(r.ms))
	b = appendOptional(b, r.integrity.Valid, uint64(r.integrity.Int64))
	b = appendOptional(b, r.integer.Valid, uint64(r.integer.Int64))
	b = appendOptional(b, r.float.Valid, math.Float64bits(r.float.Float64))
	b = appendOptional(b, r.text.Valid, uint64(len(r.text.String)))
	b = append(b, r.text.String...)
	if r.date != nil {
		b = fmt.Append(b, r.date)
	}
	h := fnv.New64a()
	_, _ = h.Write(b) // a hash never returns an error
	return h.Sum64()
}

func appendOptional(b []byte, valid bool, bits uint64) []byte {
	if !valid {
		return append(b, 0)
	}
	return binary.BigEndian.AppendUint64(append(b, 1), bits)
}
