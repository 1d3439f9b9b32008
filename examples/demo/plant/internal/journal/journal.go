// Package journal is an append-only file of records on disk for the DEMO
// plant: a record is there entirely and for good, or not at all.
//
// Records lie in segments. Each segment begins with a snapshot, so that old
// segments can be deleted. Append returns after fsync. A crash can leave half
// a record at the end of the newest segment; Open cuts it off. Anything else
// that does not match its checksum is damage and an error. Only the demo plant
// imports it.
package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A record is one line: checksum, kind, payload. The payload has no newline.
const (
	kindSnapshot = 's'
	kindRecord   = 'r'
	headLen      = 8 + 1 + 1 + 1 // 8 hex digits, space, kind, space
)

// ErrDamaged says that a file contains what no crash can leave behind.
var ErrDamaged = errors.New("journal damaged")

// Journal is an open journal. It is used by one goroutine.
type Journal struct {
	dir   string
	index uint64
	f     *os.File // nil before the first Rotate of an empty journal
	size  int64
	buf   []byte
}

// Open reads the journal in dir (created if missing) and calls apply for every
// record in order. Of a journal without any segment, Size is 0 and Rotate must
// be called before Append.
func Open(dir string, apply func(payload []byte, snapshot bool) error) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	j := &Journal{dir: dir}
	segments, err := j.segments()
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	for i, index := range segments {
		good, err := j.replay(index, i == len(segments)-1, apply)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", j.path(index), err)
		}
		j.index, j.size = index, good
	}
	if len(segments) == 0 {
		return j, nil
	}
	if j.f, err = os.OpenFile(j.path(j.index), os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	if err := errors.Join(j.f.Truncate(j.size), j.f.Sync()); err != nil {
		return nil, errors.Join(fmt.Errorf("cutting the journal's end: %w", err), j.f.Close())
	}
	if _, err := j.f.Seek(j.size, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the journal: %w", err), j.f.Close())
	}
	return j, nil
}

func (j *Journal) path(index uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("journal-%012d.log", index))
}

// segments lists the indices of the segments, ascending.
func (j *Journal) segments() ([]uint64, error) {
	names, err := filepath.Glob(filepath.Join(j.dir, "journal-*.log"))
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, n := range names {
		digits := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(n), "journal-"), ".log")
		index, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is no segment of the journal: remove it", n)
		}
		out = append(out, index)
	}
	slices.Sort(out)
	return out, nil
}

// replay applies one segment and returns the length of its good part.
func (j *Journal) replay(index uint64, last bool, apply func([]byte, bool) error) (int64, error) {
	b, err := os.ReadFile(j.path(index))
	if err != nil {
		return 0, err
	}
	good := 0
	for good < len(b) {
		payload, kind, n := parse(b[good:])
		if n == 0 {
			if !last || good == 0 || recordFollows(b[good:]) {
				return 0, fmt.Errorf("%w at byte %d", ErrDamaged, good)
			}
			break
		}
		if (kind == kindSnapshot) != (good == 0) {
			return 0, fmt.Errorf("%w: snapshot out of place at byte %d", ErrDamaged, good)
		}
		if err := apply(payload, kind == kindSnapshot); err != nil {
			return 0, err
		}
		good += n
	}
	if good == 0 {
		return 0, fmt.Errorf("%w: empty segment", ErrDamaged)
	}
	return int64(good), nil
}

// parse reads the record at the start of b; n is its length, 0 when there is
// none.
func parse(b []byte) (payload []byte, kind byte, n int) {
	end := bytes.IndexByte(b, '\n')
	if end < headLen {
		return nil, 0, 0
	}
	sum, err := strconv.ParseUint(string(b[:8]), 16, 32)
	if err != nil || b[8] != ' ' || b[10] != ' ' || checksum(b[9:end]) != uint32(sum) {
		return nil, 0, 0
	}
	return b[headLen:end], b[9], end + 1
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// recordFollows tells whether a whole record stands behind a broken one, which
// an interrupted append cannot explain.
func recordFollows(b []byte) bool {
	for {
		next := bytes.IndexByte(b, '\n')
		if next < 0 {
			return false
		}
		b = b[next+1:]
		if _, _, n := parse(b); n > 0 {
			return true
		}
	}
}

func (j *Journal) encode(kind byte, payload []byte) []byte {
	j.buf = append(j.buf[:0], "00000000 "...)
	j.buf = append(j.buf, kind, ' ')
	j.buf = append(j.buf, payload...)
	copy(j.buf, fmt.Sprintf("%08x", checksum(j.buf[9:])))
	return append(j.buf, '\n')
}

// Append adds a record. When it returns nil, the record is on disk. After an
// error the journal must not be used any more.
func (j *Journal) Append(payload []byte) error {
	if j.f == nil {
		return errors.New("appending to the journal: it has no segment yet")
	}
	b := j.encode(kindRecord, payload)
	if _, err := j.f.Write(b); err != nil {
		return fmt.Errorf("appending to the journal: %w", err)
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("appending to the journal: %w", err)
	}
	j.size += int64(len(b))
	return nil
}

// Rotate begins a new segment with a snapshot. The segment appears under its
// name only when it is whole.
func (j *Journal) Rotate(snapshot []byte) error {
	next := j.index + 1
	tmp := filepath.Join(j.dir, "next.tmp")
	b := j.encode(kindSnapshot, snapshot)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("rotating the journal: %w", err)
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, j.path(next))
	}
	if err == nil {
		err = syncDir(j.dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("rotating the journal: %w", err), f.Close())
	}
	old := j.f
	j.f, j.index, j.size = f, next, int64(len(b))
	if old != nil {
		if err := old.Close(); err != nil {
			return fmt.Errorf("rotating the journal: %w", err)
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Size returns the length of the newest segment in bytes.
func (j *Journal) Size() int64 { return j.size }

// Prune deletes the segments whose last record was written before the given
// time; the newest segment stays.
func (j *Journal) Prune(before time.Time) error {
	segments, err := j.segments()
	if err != nil {
		return fmt.Errorf("pruning the journal: %w", err)
	}
	for _, index := range segments[:max(0, len(segments)-1)] {
		info, err := os.Stat(j.path(index))
		if err != nil {
			return fmt.Errorf("pruning the journal: %w", err)
		}
		if info.ModTime().After(before) {
			return nil
		}
		if err := os.Remove(j.path(index)); err != nil {
			return fmt.Errorf("pruning the journal: %w", err)
		}
	}
	return nil
}

// Close closes the file. What Append accepted is on disk already.
func (j *Journal) Close() error {
	if j.f == nil {
		return nil
	}
	if err := j.f.Close(); err != nil {
		return fmt.Errorf("closing the journal: %w", err)
	}
	return nil
}
