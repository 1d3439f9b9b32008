package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/plantloom/plantloom/mapping/formula"
	"github.com/plantloom/plantloom/pipeline"
)

// store is the engine's state as cells: what changed goes into a delta, all of it into a snapshot. The encoding is the
// same for the same state, and floats keep every bit.
type store struct {
	cells map[string]*cell
	dirty []*cell
}

// cell is one piece of state. Its fingerprint says what it belongs to: a cell of another fingerprint is not taken.
type cell struct {
	key         string
	fingerprint uint64
	live, dirty bool
	encode      func(*encoder)
	decode      func(*decoder) // of cells that exist before a restore
	fresh       bool           // not restored
}

const stateVersion = 1

// errState is what Restore wraps for bytes that are no state of this format.
var errState = errors.New("the state cannot be read")

func newStore() *store { return &store{cells: map[string]*cell{}} }

// key makes a cell's name of its parts.
func key(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.Write(binary.AppendUvarint(nil, uint64(len(p))))
		b.WriteString(p)
	}
	return b.String()
}

// fingerprint is a hash of what a cell belongs to.
func fingerprint(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}

// fixed makes a cell that the machines and rules of the engine have from the start.
func (s *store) fixed(name string, fp uint64, encode func(*encoder), decode func(*decoder)) *cell {
	c := &cell{key: name, fingerprint: fp, encode: encode, decode: decode, fresh: true}
	s.cells[name] = c
	return c
}

// dynamic makes a cell that comes and goes with its contents, which say themselves what they belong to.
func (s *store) dynamic(name string, encode func(*encoder)) *cell {
	c := &cell{key: name, encode: encode}
	s.cells[name] = c
	return c
}

func (s *store) mark(c *cell) {
	c.live = true
	if !c.dirty {
		c.dirty = true
		s.dirty = append(s.dirty, c)
	}
}

// remove deletes a cell; a delta says so.
func (s *store) remove(c *cell) {
	s.mark(c)
	c.live = false
	if s.cells[c.key] == c {
		delete(s.cells, c.key)
	}
}

// Delta returns the cells that changed since the last Delta, Snapshot or Restore, nil when none did.
func (e *Engine) Delta() []byte {
	s := e.store
	if len(s.dirty) == 0 {
		return nil
	}
	last := map[string]*cell{}
	for _, c := range s.dirty {
		c.dirty = false
		if last[c.key] == nil || c.live { // a cell that was removed and made again is there
			last[c.key] = c
		}
	}
	s.dirty = s.dirty[:0]
	out := []byte{stateVersion}
	for _, k := range sorted(last) {
		out = appendCell(out, last[k])
	}
	return out
}

// Snapshot returns all cells.
func (e *Engine) Snapshot() []byte {
	s := e.store
	for _, c := range s.dirty {
		c.dirty = false
	}
	s.dirty = s.dirty[:0]
	out := []byte{stateVersion}
	for _, k := range sorted(s.cells) {
		if c := s.cells[k]; c.live {
			out = appendCell(out, c)
		}
	}
	return out
}

func appendCell(out []byte, c *cell) []byte {
	var e encoder
	e.text(c.key)
	e.fixed(c.fingerprint)
	e.bool(c.live)
	if c.live {
		var body encoder
		c.encode(&body)
		e.bytes(body.b)
	}
	return append(out, e.b...)
}

type savedCell struct {
	fingerprint uint64
	body        []byte
}

// readCells adds the cells of a snapshot or delta to what is known.
func readCells(into map[string]savedCell, state []byte) error {
	if len(state) == 0 {
		return nil
	}
	if state[0] != stateVersion {
		return fmt.Errorf("%w: its version is %d and not %d", errState, state[0], stateVersion)
	}
	d := &decoder{b: state[1:]}
	for len(d.b) > 0 && !d.bad {
		k, fp, live := d.text(), d.fixed(), d.bool()
		if !live {
			delete(into, k)
			continue
		}
		into[k] = savedCell{fp, d.bytes()}
	}
	if d.bad {
		return fmt.Errorf("%w: it ends in the middle of a cell", errState)
	}
	return nil
}

// encoder writes state; it never fails.
type encoder struct{ b []byte }

func (e *encoder) uint(v uint64)  { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)    { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) fixed(v uint64) { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *encoder) text(v string)  { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) bytes(v []byte) { e.uint(uint64(len(v))); e.b = append(e.b, v...) }

func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) texts(list []string) {
	e.uint(uint64(len(list)))
	for _, t := range list {
		e.text(t)
	}
}

func (e *encoder) slot(s *formula.Slot) {
	e.bool(s.OK)
	e.fixed(s.Bits)
	e.text(s.Text)
	e.int(s.At)
	e.uint(uint64(s.Status))
	e.uint(uint64(s.Raw))
}

func (e *encoder) value(v pipeline.Value) {
	e.uint(uint64(v.Type()))
	e.fixed(v.AsUint())
	e.text(v.AsText())
}

// decoder reads state. After bytes that do not fit everything it returns is zero, and bad is set.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) fixed() uint64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) bool() bool {
	if len(d.b) == 0 {
		d.fail()
		return false
	}
	v := d.b[0] == 1
	d.b = d.b[1:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := slices.Clone(d.b[:n])
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() string { return string(d.bytes()) }

// count is the length of a list, never more than the bytes that are left.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) texts() (list []string) {
	for range d.count() {
		list = append(list, d.text())
	}
	return list
}

func (d *decoder) slot() (s formula.Slot) {
	s.OK, s.Bits, s.Text, s.At = d.bool(), d.fixed(), d.text(), d.int()
	s.Status, s.Raw = pipeline.Quality(d.uint()), pipeline.Quality(d.uint())
	return s
}

func (d *decoder) value() pipeline.Value {
	t, bits, text := pipeline.Type(d.uint()), d.fixed(), d.text()
	return valueFrom(t, bits, text)
}
