package opcua

import (
	"crypto/sha256"
	b64 "encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// record is what a restart needs to go on, in memory and as the cursor. It describes only what is durable. It holds no
// secret: a new session takes the subscription over by TransferSubscriptions.
type record struct {
	ServerURI    string    // ApplicationUri of the server
	StartedAt    time.Time // ServerStatus.StartTime
	Subscription uint32
	CreatedAt    time.Time // tells subscriptions apart when a server gives an id twice
	KeepAlive    time.Duration
	Publishing   time.Duration
	Sequence     uint32 // of the newest durable message, 0 before the first
	Wraps        uint32 // how often Sequence started again at 1
	Filling      bool   // a gap is open: history must be read before live samples go on
	Watermark    time.Time
	Bad          []int       // tags without a monitored item
	Last         []time.Time // per tag: newest source time that is durable, zero when none is
}

// cursorForm is the cursor's JSON. Last is base64: 100 ns behind Base, as varints plus one, 0 for never.
type cursorForm struct {
	Version      int           `json:"v"`
	ServerURI    string        `json:"server"`
	StartedAt    time.Time     `json:"started"`
	Subscription uint32        `json:"subscription"`
	CreatedAt    time.Time     `json:"created"`
	KeepAlive    time.Duration `json:"keepalive_ns"`
	Publishing   time.Duration `json:"publishing_ns"`
	Sequence     uint32        `json:"sequence"`
	Wraps        uint32        `json:"wraps,omitempty"`
	Filling      bool          `json:"filling,omitempty"`
	Watermark    time.Time     `json:"watermark"`
	Tags         string        `json:"tags"`
	Bad          []int         `json:"bad,omitempty"`
	Base         time.Time     `json:"base"`
	Last         string        `json:"last"`
}

const cursorVersion = 1

// tagsHash tells whether handles of an older process mean the same tags.
func tagsHash(tags []pipeline.Tag) string {
	h := sha256.New()
	for _, t := range tags {
		fmt.Fprintf(h, "%q %q\n", t.ID, t.Address)
	}
	return b64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

func (r *record) encode(tags string) ([]byte, error) {
	f := cursorForm{
		Version: cursorVersion, ServerURI: r.ServerURI, StartedAt: r.StartedAt, Subscription: r.Subscription, CreatedAt: r.CreatedAt,
		KeepAlive: r.KeepAlive, Publishing: r.Publishing, Sequence: r.Sequence, Wraps: r.Wraps, Filling: r.Filling,
		Watermark: r.Watermark, Tags: tags, Bad: r.Bad,
	}
	for _, t := range r.Last {
		if t.After(f.Base) {
			f.Base = t
		}
	}
	raw := make([]byte, 0, 5*len(r.Last))
	for _, t := range r.Last {
		n := uint64(0)
		if !t.IsZero() {
			n = uint64(f.Base.Sub(t)/100) + 1
		}
		raw = binary.AppendUvarint(raw, n)
	}
	f.Last = b64.RawStdEncoding.EncodeToString(raw)
	b, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encoding the cursor: %w", err)
	}
	return b, nil
}

// decodeRecord reads a cursor. When it was written with other tags, the subscription cannot be used any more, and
// every tag's gap begins at the watermark.
func decodeRecord(b []byte, tags string, count int) (*record, error) {
	var f cursorForm
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("decoding the cursor: %w", err)
	}
	if f.Version != cursorVersion {
		return nil, fmt.Errorf("the cursor has version %d, this program reads %d: run a newer version", f.Version, cursorVersion)
	}
	r := &record{
		ServerURI: f.ServerURI, StartedAt: f.StartedAt, Subscription: f.Subscription, CreatedAt: f.CreatedAt,
		KeepAlive: f.KeepAlive, Publishing: f.Publishing, Sequence: f.Sequence, Wraps: f.Wraps, Filling: f.Filling,
		Watermark: f.Watermark, Bad: f.Bad, Last: make([]time.Time, count),
	}
	if f.Tags != tags {
		r.Subscription, r.Sequence, r.Bad = 0, 0, nil
		for i := range r.Last {
			r.Last[i] = r.Watermark
		}
		return r, nil
	}
	raw, err := b64.RawStdEncoding.DecodeString(f.Last)
	if err != nil {
		return nil, fmt.Errorf("decoding the cursor: %w", err)
	}
	for i := range r.Last {
		n, size := binary.Uvarint(raw)
		if size <= 0 {
			return nil, errors.New("decoding the cursor: it ends too early")
		}
		raw = raw[size:]
		if n > 0 {
			r.Last[i] = f.Base.Add(-time.Duration(n-1) * 100)
		}
	}
	if slices.ContainsFunc(r.Bad, func(i int) bool { return i < 0 || i >= count }) {
		return nil, errors.New("decoding the cursor: it names tags that do not exist")
	}
	return r, nil
}

// session is the name that positions count in (R7): the server, its start, the subscription.
func (r *record) session() string {
	return fmt.Sprintf("%s|%s|%d|%d", r.ServerURI, r.StartedAt.UTC().Format(time.RFC3339Nano), r.Subscription, r.CreatedAt.UnixMilli())
}

// itemBits is the room for an item's index within its message; a message has fewer than 2^20 changes.
const itemBits = 20

// position is a sample's position: the sequence number with its wraps, then the item's index plus one, so that it is
// never 0 (R7).
func position(wraps, sequence uint32, item int) uint64 {
	return uint64(wraps)<<(32+itemBits) | uint64(sequence)<<itemBits | uint64(item+1)
}

// next returns the sequence number after s: 0xFFFFFFFF is followed by 1 (Part 4 7.8).
func next(wraps, s uint32) (uint32, uint32) {
	if s == ^uint32(0) {
		return wraps + 1, 1
	}
	return wraps, s + 1
}

// ahead reports how far sequence number s is ahead of want, negative when it is behind. The distance is measured on
// the circle of 2^32-1 numbers.
func ahead(want, s uint32) int64 {
	const circle = int64(^uint32(0))
	d := int64(s) - int64(want)
	if d > circle/2 {
		d -= circle
	}
	if d < -circle/2 {
		d += circle
	}
	return d
}
