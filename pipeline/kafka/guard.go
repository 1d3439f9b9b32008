package kafka

import (
	"bytes"
	"encoding/binary"
	"net"
)

const (
	maxFirstFrame = 64 << 10  // the answer to ApiVersions is about 500 bytes
	maxFrame      = 256 << 20 // far above fetch and metadata answers
)

// frameGuard checks the length in front of every answer before kafka-go allocates for it: an HTTP server's "HTTP" is
// a length of 1.2 GB. One goroutine reads at a time.
type frameGuard struct {
	net.Conn
	addr   string
	head   [4]byte
	headN  int
	left   int // bytes of the current frame still to come
	frames int
}

func (g *frameGuard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	for b := p[:n]; len(b) > 0; {
		if g.left > 0 {
			k := min(g.left, len(b))
			g.left -= k
			b = b[k:]
			continue
		}
		k := copy(g.head[g.headN:], b)
		g.headN += k
		b = b[k:]
		if g.headN < len(g.head) {
			break
		}
		if bad := g.frame(); bad != nil {
			_ = g.Close() // the connection is of no use; the error says why
			return 0, bad
		}
	}
	return n, err
}

func (g *frameGuard) frame() error {
	size := binary.BigEndian.Uint32(g.head[:])
	g.headN = 0
	limit := uint32(maxFrame)
	if g.frames == 0 {
		limit = maxFirstFrame
	}
	g.frames++
	if size > limit || size < 4 {
		return &notKafkaError{addr: g.addr, hint: hint(g.head[:])}
	}
	g.left = int(size)
	return nil
}

func hint(b []byte) string {
	switch {
	case bytes.Equal(b, []byte("HTTP")):
		return " (it speaks HTTP)"
	case bytes.Equal(b, []byte("SSH-")):
		return " (it speaks SSH)"
	case b[0] == 0x15 && b[1] == 3:
		return " (it wants TLS)"
	}
	return ""
}
