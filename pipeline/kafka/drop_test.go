package kafka_test

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// dropper stands between broker and clients: after an armed kind of request has been worked on, it cuts the connection
// in place of the answer.
type dropper struct {
	mu    sync.Mutex
	armed map[kmsg.Key]int // how many answers to lose
	lost  int
}

func (d *dropper) arm(key kmsg.Key, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed[key] = n
}

func (d *dropper) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost
}

func (d *dropper) loses(key kmsg.Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.armed[key] == 0 {
		return false
	}
	d.armed[key]--
	d.lost++
	return true
}

// droppingCluster starts a broker behind a dropper.
func droppingCluster(t *testing.T) (*kfake.Cluster, *dropper) {
	t.Helper()
	d := &dropper{armed: map[kmsg.Key]int{}}
	k := cluster(t, kfake.ListenFn(func(network, addr string) (net.Listener, error) {
		l, err := net.Listen(network, addr)
		return dropListener{l, d}, err
	}))
	return k, d
}

type dropListener struct {
	net.Listener
	d *dropper
}

func (l dropListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &dropConn{Conn: c, d: l.d}, err
}

// dropConn is used by kfake with one reader, which reads the 4 bytes of a length and then the request, and a writer.
type dropConn struct {
	net.Conn
	d   *dropper
	mu  sync.Mutex
	key kmsg.Key // of the newest request
}

func (c *dropConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n >= 8 && len(p) > 4 {
		c.mu.Lock()
		c.key = kmsg.Key(binary.BigEndian.Uint16(p))
		c.mu.Unlock()
	}
	return n, err
}

func (c *dropConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	key := c.key
	c.mu.Unlock()
	if c.d.loses(key) {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}
