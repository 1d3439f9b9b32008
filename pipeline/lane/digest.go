package lane

import (
	"crypto/sha256"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	headerField     = 1  // of every business event
	provenanceField = 15 // of EventHeader
)

// digest is SHA-256 of an event's body without header.provenance: the same fact from another version of the mapping
// files is the same effect. A body that is no protobuf message is taken as it is.
func digest(body []byte) [sha256.Size]byte {
	out, ok := without(body, headerField, func(header []byte) ([]byte, bool) {
		return without(header, provenanceField, nil)
	})
	if !ok {
		return sha256.Sum256(body)
	}
	return sha256.Sum256(out)
}

// without copies a message and replaces the submessages of one field by what edit makes of them, or leaves them out
// when edit is nil.
func without(msg []byte, field protowire.Number, edit func([]byte) ([]byte, bool)) ([]byte, bool) {
	out := make([]byte, 0, len(msg))
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return nil, false
		}
		size := protowire.ConsumeFieldValue(num, typ, msg[n:])
		if size < 0 {
			return nil, false
		}
		switch {
		case num != field || typ != protowire.BytesType:
			out = append(out, msg[:n+size]...)
		case edit != nil:
			sub, _ := protowire.ConsumeBytes(msg[n:])
			sub, ok := edit(sub)
			if !ok {
				return nil, false
			}
			out = protowire.AppendTag(out, num, typ)
			out = protowire.AppendBytes(out, sub)
		}
		msg = msg[n+size:]
	}
	return out, true
}
