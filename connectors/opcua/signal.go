package opcua

import (
	"context"
	"fmt"
	"math"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/connectors/opcua/wire"
	"github.com/plantloom/plantloom/pipeline"
)

// signals are the values of the handshake's tags at one time.
type signals struct{ request, ack, refuse, code wire.DataValue }

func (h *handshake) read(ctx context.Context, l *link) (signals, error) {
	var s signals
	var what []attribute
	var into []*wire.DataValue
	for _, p := range []struct {
		tag int
		to  *wire.DataValue
	}{{h.request, &s.request}, {h.ack, &s.ack}, {h.refuse, &s.refuse}, {h.code, &s.code}} {
		if p.tag < 0 {
			continue
		}
		n, ok := h.e.s.nodes[p.tag].node(l.namespaces)
		if !ok {
			return s, fmt.Errorf("tag %s: the server has no namespace %s", h.e.s.host.Tags[p.tag].ID, h.e.s.nodes[p.tag].uri)
		}
		what, into = append(what, attribute{n, ua.AttributeIDValue}), append(into, p.to)
	}
	v, err := l.read(ctx, what)
	if err != nil {
		return s, fmt.Errorf("reading the handshake: %w", err)
	}
	for i := range v {
		*into[i] = v[i]
	}
	return s, nil
}

// idle reports that the device waits for a request.
func (h *handshake) idle(s signals) bool {
	if s.request.Status.IsBad() || s.ack.Status.IsBad() || s.refuse.Status.IsBad() {
		return false
	}
	switch h.style {
	case level:
		return !truth(s.request.Value) && !truth(s.ack.Value) && !truth(s.refuse.Value)
	case toggle: // what was refused was not followed
		return h.refuse >= 0 || equal(s.ack.Value, s.request.Value)
	}
	return equal(s.ack.Value, s.request.Value) || h.refuse >= 0 && equal(s.refuse.Value, s.request.Value)
}

// truth reads a bit that some devices keep in a number.
func truth(v pipeline.Value) bool {
	if n := v.Type(); n == pipeline.TypeInt || n == pipeline.TypeUint {
		return v.AsUint() != 0
	}
	return v.AsBool()
}

// equal compares numbers of different integer types by value.
func equal(a, b pipeline.Value) bool {
	whole := func(v pipeline.Value) bool { return v.Type() == pipeline.TypeInt || v.Type() == pipeline.TypeUint }
	if whole(a) && whole(b) {
		return a.AsInt() == b.AsInt()
	}
	return a == b
}

// following is the next number of a sequence; after the largest that the node holds comes 1.
func following(n int64, id ua.TypeID) int64 {
	most := map[ua.TypeID]int64{
		ua.TypeIDSByte: math.MaxInt8, ua.TypeIDByte: math.MaxUint8, ua.TypeIDInt16: math.MaxInt16, ua.TypeIDUint16: math.MaxUint16,
		ua.TypeIDInt32: math.MaxInt32, ua.TypeIDUint32: math.MaxUint32,
	}[id]
	if most == 0 {
		most = math.MaxInt64
	}
	if n >= most || n < 0 {
		return 1
	}
	return n + 1
}
