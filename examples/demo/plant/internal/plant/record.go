package plant

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/plantloom/plantloom/examples/demo/plant/internal/line"
)

// record is what the journal keeps of one commit. A snapshot is a record with
// the whole state: every line, every tag, the produced orders.
type record struct {
	At     time.Time                  `json:"at"`
	Lines  map[string]json.RawMessage `json:"lines,omitempty"`
	Tags   []tagValue                 `json:"tags,omitempty"`
	Ledger []line.Entry               `json:"ledger,omitempty"`

	// of a snapshot
	LedgerSeq uint64              `json:"ledger_seq,omitempty"`
	Produced  map[string][]string `json:"produced,omitempty"`
}

// tagValue is a line.Change on disk. Its value's type is the tag's.
type tagValue struct {
	Name   string          `json:"n"`
	Value  json.RawMessage `json:"v"`
	Status uint32          `json:"s,omitempty"`
	At     int64           `json:"t"` // milliseconds since 1970
}

func encodeTag(c line.Change) (tagValue, error) {
	v, err := json.Marshal(c.Value)
	if err != nil {
		return tagValue{}, fmt.Errorf("encoding %s: %w", c.Tag, err)
	}
	return tagValue{c.Tag, v, c.Status, c.At.UnixMilli()}, nil
}

// decodeTag gives the value the type that the tag's definition has.
func decodeTag(t tagValue, defs map[string]line.Def) (line.Change, error) {
	d, ok := defs[t.Name]
	if !ok {
		return line.Change{}, fmt.Errorf("unknown tag %s", t.Name)
	}
	c := line.Change{Tag: t.Name, Status: t.Status, At: time.UnixMilli(t.At).UTC()}
	if string(t.Value) == "null" {
		return c, nil
	}
	var err error
	switch d.Zero.(type) {
	case bool:
		c.Value, err = decode[bool](t.Value)
	case string:
		c.Value, err = decode[string](t.Value)
	case int32:
		c.Value, err = decode[int32](t.Value)
	case uint16:
		c.Value, err = decode[uint16](t.Value)
	case uint32:
		c.Value, err = decode[uint32](t.Value)
	case float64:
		c.Value, err = decode[float64](t.Value)
	default:
		err = fmt.Errorf("no decoder for a %T", d.Zero)
	}
	if err != nil {
		return line.Change{}, fmt.Errorf("decoding %s: %w", t.Name, err)
	}
	return c, nil
}

func decode[T any](b []byte) (T, error) {
	var v T
	err := json.Unmarshal(b, &v)
	return v, err
}

// historianName is the line that has no OPC UA server, only a historian.
const historianName = "L9"

// historianPath returns the historian's name of a tag, "" when it keeps none.
func historianPath(tag string) string {
	part, ok := strings.CutPrefix(tag, historianName+".")
	if !ok {
		return ""
	}
	switch part {
	case "Order.No":
		return "bottling/l9/order_no"
	case "Cnt.Good":
		return "bottling/l9/good"
	case "Cnt.Scrap":
		return "bottling/l9/scrap"
	case "Order.Done":
		return "bottling/l9/done"
	case "State":
		return "bottling/l9/state"
	}
	return ""
}
