package uaserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
)

// gate is the public listener. Each connection is carried to the library's
// own listener on loopback chunk by chunk. That makes three things possible
// which the library does not offer: cutting or freezing connections on demand,
// knowing which connection a secure channel uses, and holding responses back
// while a channel's keys are exchanged (the library changes them without a
// lock).
type gate struct {
	ln    net.Listener
	inner string // the library's address, set before run

	onClose func(*conn)

	mu      sync.Mutex
	thaw    *sync.Cond // signalled when frozen or the set of connections changes
	conns   map[string]*conn
	frozen  bool
	refuse  bool
	stopped bool
	wg      sync.WaitGroup
}

func newGate(ln net.Listener, onClose func(*conn)) *gate {
	g := &gate{ln: ln, onClose: onClose, conns: map[string]*conn{}}
	g.thaw = sync.NewCond(&g.mu)
	return g
}

// run accepts until the listener is closed.
func (g *gate) run(ctx context.Context, serve func(*conn)) {
	for {
		c, err := g.ln.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		if g.refuse || g.stopped {
			g.mu.Unlock()
			reset(c.(*net.TCPConn))
			continue
		}
		g.wg.Add(1)
		g.mu.Unlock()
		go func() {
			defer g.wg.Done()
			g.carry(ctx, c.(*net.TCPConn), serve)
		}()
	}
}

// carry moves chunks both ways until either side ends. The library is dialled
// only once the client has spoken: its accept loop waits for the greeting of
// one connection before it looks at the next.
func (g *gate) carry(ctx context.Context, outer *net.TCPConn, serve func(*conn)) {
	c := &conn{
		g: g, outer: outer, closed: make(chan struct{}),
		renewed: make(chan struct{}, 1), calls: newQueue[call](), sends: newQueue[outgoing](),
	}
	stop := context.AfterFunc(ctx, c.cut)
	defer stop()
	defer c.cut()
	r := bufio.NewReaderSize(outer, chunkBuffer)
	if _, err := r.Peek(8); err != nil {
		return
	}
	inner, err := (&net.Dialer{}).DialContext(ctx, "tcp", g.inner)
	if err != nil {
		return
	}
	if !c.attach(inner.(*net.TCPConn)) || !g.add(c) {
		return
	}
	defer g.remove(c)
	var wg sync.WaitGroup
	wg.Go(func() { serve(c) })
	wg.Go(func() {
		defer c.cut()
		_ = c.toClient(bufio.NewReaderSize(c.inner, chunkBuffer))
	})
	_ = c.toServer(r)
	c.cut()
	wg.Wait()
}

func (g *gate) add(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return false
	}
	g.conns[c.inner.LocalAddr().String()] = c
	return true
}

func (g *gate) remove(c *conn) {
	g.mu.Lock()
	delete(g.conns, c.inner.LocalAddr().String())
	g.mu.Unlock()
	g.onClose(c)
}

// find returns the client connection behind the library's peer address.
func (g *gate) find(a net.Addr) *conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conns[a.String()]
}

func (g *gate) waitThawed(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.frozen && !g.stopped {
		select {
		case <-c.closed:
			return
		default:
		}
		g.thaw.Wait()
	}
}

func (g *gate) setFrozen(v bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = v
	g.thaw.Broadcast()
}

func (g *gate) setRefuse(v bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse = v
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

// cutChannel ends the connection of a secure channel.
func (g *gate) cutChannel(id uint32) {
	for _, c := range g.all() {
		c.mu.Lock()
		hit := c.id == id
		c.mu.Unlock()
		if hit {
			c.cut()
		}
	}
}

func (g *gate) all() []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.conns))
}

// drop resets every connection.
func (g *gate) drop() {
	for _, c := range g.all() {
		c.cut()
	}
}

// stop closes the listener and waits until every connection has ended. The
// context given to run must be cancelled before, or clients that never spoke
// would hold it up.
func (g *gate) stop() error {
	g.mu.Lock()
	g.stopped = true
	g.thaw.Broadcast()
	g.mu.Unlock()
	err := g.ln.Close()
	g.drop()
	g.wg.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing the listener: %w", err)
	}
	return nil
}
