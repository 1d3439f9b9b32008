package uaserver

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uasc"
)

// chunkBuffer holds one message chunk; the largest that the library sends or
// accepts is 65,535 bytes (its default buffer sizes).
const chunkBuffer = 1 << 17

// renewalGrace is how long responses wait after a secure channel's new token
// left the library, because it installs the new keys after sending them.
const renewalGrace = 20 * time.Millisecond

// openTimeout bounds how long the library may take to answer an
// OpenSecureChannel request.
const openTimeout = 5 * time.Second

// conn is one client connection.
type conn struct {
	g            *gate
	outer, inner *net.TCPConn
	closed       chan struct{}
	closeOnce    sync.Once

	// sendMu is held while a response is encoded and while a channel renews.
	sendMu  sync.Mutex
	renewed chan struct{} // one token per OpenSecureChannel answer that passed

	mu     sync.Mutex
	policy string // security policy URI of the newest OpenSecureChannel
	over   bool   // cut was called
	id     uint32 // secure channel id, 0 before it is open

	calls *queue[call]
	sends *queue[outgoing]
}

// outgoing is a response on its way to the library's encoder.
type outgoing struct {
	sc    *uasc.SecureChannel
	reqID uint32
	resp  ua.Response
}

// toServer carries the client's chunks, and stops responses around a renewal.
func (c *conn) toServer(r *bufio.Reader) error {
	opened := false
	for {
		chunk, err := nextChunk(r)
		if err != nil {
			return err
		}
		c.g.waitThawed(c)
		if string(chunk[:3]) != "OPN" {
			if _, err := c.inner.Write(chunk); err != nil {
				return err
			}
			continue
		}
		c.setPolicy(chunk)
		if err := c.exchangeKeys(chunk, opened); err != nil {
			return err
		}
		opened = true
	}
}

// exchangeKeys passes an OpenSecureChannel request on and returns when the
// library uses the new keys. No response is encoded meanwhile.
func (c *conn) exchangeKeys(chunk []byte, renewal bool) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	if _, err := c.inner.Write(chunk); err != nil {
		return err
	}
	select {
	case <-c.renewed:
	case <-c.closed:
		return net.ErrClosed
	case <-time.After(openTimeout):
		// The library gave up on the channel; it does not close the socket.
		return fmt.Errorf("channel not opened within %v", openTimeout)
	}
	if !renewal {
		return nil
	}
	select {
	case <-time.After(renewalGrace):
	case <-c.closed:
	}
	return nil
}

func (c *conn) toClient(r *bufio.Reader) error {
	for {
		chunk, err := nextChunk(r)
		if err != nil {
			return err
		}
		c.g.waitThawed(c)
		if _, err := c.outer.Write(chunk); err != nil {
			return err
		}
		if string(chunk[:3]) == "OPN" && len(chunk) >= 12 {
			c.mu.Lock()
			c.id = binary.LittleEndian.Uint32(chunk[8:])
			c.mu.Unlock()
			select {
			case c.renewed <- struct{}{}:
			default:
			}
		}
	}
}

// nextChunk returns the next message chunk (OPC UA Part 6, 7.1.2: type, chunk
// flag, total size). The slice is valid until the following call.
func nextChunk(r *bufio.Reader) ([]byte, error) {
	hdr, err := r.Peek(8)
	if err != nil {
		return nil, err
	}
	size := int(binary.LittleEndian.Uint32(hdr[4:]))
	if size < 8 || size > chunkBuffer {
		return nil, fmt.Errorf("chunk of %d bytes", size)
	}
	chunk, err := r.Peek(size)
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), chunk...)
	_, err = r.Discard(size)
	return out, err
}

// setPolicy reads the security policy URI, which travels in clear in the
// asymmetric header (Part 6, 6.7.2).
func (c *conn) setPolicy(chunk []byte) {
	if len(chunk) < 16 {
		return
	}
	n := int(int32(binary.LittleEndian.Uint32(chunk[12:])))
	if n < 0 || 16+n > len(chunk) {
		return
	}
	c.mu.Lock()
	c.policy = string(chunk[16 : 16+n])
	c.mu.Unlock()
}

func (c *conn) securityPolicy() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.policy
}

// attach gives c its connection to the library; false when c was cut already.
func (c *conn) attach(inner *net.TCPConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		_ = inner.Close()
		return false
	}
	c.inner = inner
	return true
}

// cut ends the connection with a TCP reset.
func (c *conn) cut() {
	c.closeOnce.Do(func() {
		close(c.closed)
		reset(c.outer)
		c.mu.Lock()
		c.over = true
		if c.inner != nil {
			_ = c.inner.Close()
		}
		c.mu.Unlock()
		c.calls.close()
		c.sends.close()
		c.g.mu.Lock()
		c.g.thaw.Broadcast()
		c.g.mu.Unlock()
	})
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
