package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	prefix    = 8 // bytes: frame size, api key, version
	minFrame  = 8 // bytes after the size: api key, version, correlation id
	pauseOpen = 100 * time.Millisecond
)

// span is the range of versions of one request that the broker answers.
type span struct{ min, max int16 }

// guard is the listener that kfake accepts from. Connections from outside are
// accepted once open was called, and each is wrapped so that kfake never sees
// a byte of a frame that is too large, unknown or of an unknown version: any of
// them would end its process.
type guard struct {
	net.Listener
	log   *slog.Logger
	max   int32
	conns chan net.Conn // accepted, on their way to kfake
	done  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	// Set by open before the first connection from outside is accepted.
	known map[int16]span
	clamp func(*kmsg.DeleteRecordsRequest)
}

// listen binds the address; nothing is accepted yet.
func listen(ctx context.Context, cfg Config) (*guard, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("binding the address: %w", err)
	}
	return &guard{
		Listener: ln, log: cfg.Log, max: cfg.MaxFrame,
		conns: make(chan net.Conn), done: make(chan struct{}),
	}, nil
}

// open begins to accept connections from outside. clamp may change a request
// to delete records before kfake gets it.
func (g *guard) open(known map[int16]span, clamp func(*kmsg.DeleteRecordsRequest)) {
	g.known, g.clamp = known, clamp
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		g.accept()
	}()
}

func (g *guard) accept() {
	for {
		conn, err := g.Listener.Accept()
		switch {
		case err == nil:
			g.give(&guarded{Conn: conn, g: g})
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		// Out of file descriptors, for one: kfake would stop listening.
		g.log.Error("cannot accept connections, trying again", "err", err)
		select {
		case <-g.done:
			return
		case <-time.After(pauseOpen):
		}
	}
}

// give hands a connection to kfake, or closes it when the guard is closed.
func (g *guard) give(conn net.Conn) {
	select {
	case g.conns <- conn:
	case <-g.done:
		conn.Close()
	}
}

// Accept is called by kfake.
func (g *guard) Accept() (net.Conn, error) {
	select {
	case conn := <-g.conns:
		return conn, nil
	case <-g.done:
		return nil, net.ErrClosed
	}
}

// Close stops accepting. kfake calls it as well.
func (g *guard) Close() error {
	var err error
	g.once.Do(func() {
		close(g.done)
		err = g.Listener.Close()
		g.wg.Wait()
	})
	return err
}

// guarded is a connection whose reader (one goroutine of kfake) gets checked
// frames only.
type guarded struct {
	net.Conn
	g      *guard
	head   [prefix]byte
	ahead  []byte // checked bytes that were read and not yet handed out
	behind int    // bytes of the same frame that are still on the wire
}

// Read implements net.Conn.
func (c *guarded) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 && c.behind == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.behind)])
	c.behind -= n
	return n, err
}

// next reads the beginning of the next frame and checks it. The connection is
// cut, with a line in the log that names the peer, when it is not acceptable.
func (c *guarded) next() error {
	if _, err := io.ReadFull(c.Conn, c.head[:]); err != nil {
		return err
	}
	size := int32(binary.BigEndian.Uint32(c.head[:]))
	key := int16(binary.BigEndian.Uint16(c.head[4:]))
	version := int16(binary.BigEndian.Uint16(c.head[6:]))
	if fault := c.g.fault(size, key, version); fault != "" {
		return c.cut(fault)
	}
	c.ahead, c.behind = c.head[:], int(size)-4
	if key != int16(kmsg.DeleteRecords) {
		return nil
	}
	frame := make([]byte, prefix+c.behind)
	copy(frame, c.head[:])
	if _, err := io.ReadFull(c.Conn, frame[prefix:]); err != nil {
		return err
	}
	frame, err := rewriteDelete(frame, version, c.g.clamp)
	if err != nil {
		return c.cut(err.Error())
	}
	c.ahead, c.behind = frame, 0
	return nil
}

func (c *guarded) cut(fault string) error {
	c.g.log.Warn("connection cut: what arrived is not a Kafka request that this broker knows",
		"peer", c.RemoteAddr().String(), "fault", fault)
	c.Conn.Close()
	return errors.New(fault)
}

// fault says what is wrong with the beginning of a frame, or "".
func (g *guard) fault(size int32, key, version int16) string {
	if size < minFrame || size > g.max {
		return fmt.Sprintf("frame of %d bytes, %d to %d are accepted", uint32(size), minFrame, g.max)
	}
	known, ok := g.known[key]
	if !ok {
		return fmt.Sprintf("unknown api key %d", key)
	}
	// A client that is newer than the broker asks for ApiVersions in a version
	// unknown to us and is told which ones there are.
	if version < known.min || version > known.max && key != int16(kmsg.ApiVersions) {
		return fmt.Sprintf("%s version %d, %d to %d are known", kmsg.NameForKey(key), version, known.min, known.max)
	}
	return ""
}

// rewriteDelete passes a whole DeleteRecords frame through clamp.
func rewriteDelete(frame []byte, version int16, clamp func(*kmsg.DeleteRecordsRequest)) ([]byte, error) {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.SetVersion(version)
	r := kbin.Reader{Src: frame[prefix:]}
	r.Int32()          // correlation id
	r.NullableString() // client id
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if err := r.Complete(); err != nil {
		return nil, fmt.Errorf("DeleteRecords: %w", err)
	}
	head := len(frame) - len(r.Src)
	if err := req.ReadFrom(r.Src); err != nil {
		return nil, fmt.Errorf("DeleteRecords: %w", err)
	}
	clamp(req)
	frame = req.AppendTo(frame[:head:head])
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame, nil
}
