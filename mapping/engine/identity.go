package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"
)

// hashID is 128 bits of SHA-256 over parts, each with its length in front, as 32 hexadecimal digits.
func hashID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// eventID is the id of an event: equal causes give equal ids, however and wherever the log is read. R13
func (m *machine) eventID(d *ruleDef, t *trigger, businessKey, operation string) string {
	parts := []string{d.message.kind, m.a.e.config.Site, m.identity, m.p.name, d.name, businessKey, operation}
	return hashID(append(parts, t.identity()...)...)
}

// commandID is the id of a group of writes. R3
func (m *machine) commandID(d *ruleDef, t *trigger, group string) string {
	parts := []string{"command", m.p.name, d.name, m.identity, group}
	return hashID(append(parts, t.identity()...)...)
}

// identity is what makes a firing the same as another.
func (t *trigger) identity() []string {
	ordinal := strconv.FormatUint(uint64(t.ordinal), 10)
	switch t.kind {
	case "interval":
		return []string{t.kind, strconv.FormatInt(t.to, 10), ordinal}
	case "receive":
		return []string{t.kind, t.cause, ordinal}
	}
	return []string{t.kind, t.tag, strconv.FormatInt(t.at, 10), ordinal}
}

func timeOf(ns int64) time.Time { return time.Unix(0, ns).UTC() }

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

const (
	// maxKeys is how many keys of one event type and asset have their sequence kept; the one unused for longest goes.
	maxKeys = 4096
)

// seqKey is what event sequences are contiguous in.
type seqKey struct{ kind, key string }

type sequence struct {
	n, used uint64
	cell    *cell
}

// nextSequence numbers an event; the first of its key is 1.
func (a *asset) nextSequence(kind, businessKey string) uint64 {
	k := seqKey{kind, businessKey}
	s := a.keys[k]
	if s == nil {
		s = a.newSequence(k)
		a.forgetKey(kind)
	}
	a.clock++
	s.n, s.used = s.n+1, a.clock
	a.mark()
	a.e.store.mark(s.cell)
	return s.n
}

func (a *asset) newSequence(k seqKey) *sequence {
	s := &sequence{used: a.clock}
	s.cell = a.e.store.dynamic(key("q", a.path, k.kind, k.key), func(e *encoder) {
		e.text(a.path)
		e.text(k.kind)
		e.text(k.key)
		e.uint(s.n)
		e.uint(s.used)
	})
	a.keys[k] = s
	return s
}

// forgetKey drops the key of a type that is unused for longest when there are too many.
func (a *asset) forgetKey(kind string) {
	n, oldest := 0, seqKey{}
	for k, s := range a.keys {
		if k.kind != kind {
			continue
		}
		n++
		if o := a.keys[oldest]; s.n > 0 && (o == nil || s.used < o.used) {
			oldest = k
		}
	}
	if n > maxKeys {
		a.e.store.remove(a.keys[oldest].cell)
		delete(a.keys, oldest)
	}
}
