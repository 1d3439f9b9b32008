package wire

import (
	"bufio"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gopcua/opcua/ua"
)

// Config says where and how a channel is opened.
type Config struct {
	Address     string // host:port that is dialled; servers often advertise names that nobody resolves
	EndpointURL string // what the server calls itself, sent in the greeting
	PolicyURI   string
	Mode        ua.MessageSecurityMode
	Certificate []byte // ours, DER; empty with policy None
	Key         *rsa.PrivateKey
	PeerCert    []byte // the server's, DER, already trusted
	// Lifetime is asked for the channel's keys, which are renewed after three quarters of what the server grants.
	Lifetime       time.Duration
	ConnectTimeout time.Duration // for TCP, greeting and keys together
	CallTimeout    time.Duration // for one call, and for handing one request to the network
	MaxMessageSize int           // bytes of one answer that are accepted
	Now            func() time.Time
}

// closeTimeout bounds telling the server that the channel ends.
const closeTimeout = 200 * time.Millisecond

// ErrClosed is the end of a channel that Close ended.
var ErrClosed = errors.New("channel closed")

// OpenError is a server that was reached and did not open the secure channel.
type OpenError struct{ Err error }

func (e *OpenError) Error() string { return "opening a secure channel: " + e.Err.Error() }
func (e *OpenError) Unwrap() error { return e.Err }

// Reply is the answer to a request that Go sent.
type Reply struct {
	ID  uint32
	Err error // the channel's end, an aborted answer
	raw []byte
}

// Channel is one secure channel. Its methods may be called from any goroutine.
type Channel struct {
	cfg  Config
	conn net.Conn
	in   *bufio.Reader

	// sending holds one token, taken while the chunks of one message are written (sequence numbers must not
	// interleave) and while keys are exchanged (some servers forget the old ones at once).
	sending     chan struct{}
	sequence    uint32
	chunkSize   int // bytes of one outgoing chunk
	maxSend     int // bytes of one request that the server takes, 0: any
	maxChunks   int // chunks of one request that the server takes, 0: any
	sendToken   *token
	lastRequest uint32

	mu      sync.Mutex
	tokens  []*token // newest last, at most two
	opening *opening
	pending map[uint32]chan<- Reply
	err     error

	done chan struct{}
	wg   sync.WaitGroup

	// used by the reading goroutine alone
	received uint32 // sequence number of the last chunk
	started  bool
	partial  map[uint32]*partial
}

// partial is an answer of which not all chunks are there.
type partial struct {
	data   []byte
	chunks int
}

// Dial connects and opens the channel. The caller ends it with Close.
func Dial(ctx context.Context, cfg Config) (*Channel, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	conn, err := (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	c := &Channel{
		cfg: cfg, conn: conn, in: bufio.NewReaderSize(conn, receiveBuffer),
		pending: map[uint32]chan<- Reply{}, partial: map[uint32]*partial{}, done: make(chan struct{}),
		sending: make(chan struct{}, 1),
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = c.greet()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %v: %w", cfg.ConnectTimeout, ctx.Err())
		}
		return nil, fmt.Errorf("greeting %s: %w", cfg.Address, err)
	}
	c.wg.Go(c.read)
	life, err := c.open(ctx, ua.SecurityTokenRequestTypeIssue)
	if err != nil {
		c.fail(err)
		c.wg.Wait()
		return nil, &OpenError{err}
	}
	c.wg.Go(func() { c.renew(life) })
	return c, nil
}

// Done is closed when the channel has ended; Err says why.
func (c *Channel) Done() <-chan struct{} { return c.done }

// Err returns why the channel ended, nil while it works.
func (c *Channel) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close tells the server and ends the channel and its goroutines. A session on it lives on.
func (c *Channel) Close() {
	if c.Err() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		if body, err := encode(&ua.CloseSecureChannelRequest{RequestHeader: c.header(nil, 0, 0)}); err == nil {
			_ = c.send(ctx, "CLO", c.nextRequest(), body, nil)
		}
		cancel()
	}
	c.fail(ErrClosed)
	c.wg.Wait()
}

// fail ends the channel: the first reason counts, every waiting call gets it.
func (c *Channel) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	_ = c.conn.Close()
	for id, out := range c.pending {
		deliver(out, Reply{ID: id, Err: err})
	}
	clear(c.pending)
	close(c.done)
}

// deliver never blocks: whoever waits keeps room for its replies.
func deliver(out chan<- Reply, r Reply) {
	select {
	case out <- r:
	default:
	}
}

// Go sends a request; the reply goes to out in the order in which replies arrive. out must have room for every
// request that is outstanding on it. hint is the server's time limit, 0 for none. The end of ctx ends the channel when
// the request is half sent.
func (c *Channel) Go(ctx context.Context, req ua.Request, auth *ua.NodeID, hint time.Duration, out chan<- Reply) (id uint32, err error) {
	id = c.nextRequest()
	req.SetHeader(c.header(auth, id, hint))
	body, err := encode(req)
	if err != nil {
		return 0, err
	}
	return id, c.send(ctx, "MSG", id, body, out)
}

// Call sends a request and waits for the decoded answer, at most for the call time-out. A Bad service result is
// returned as a ua.StatusCode.
func (c *Channel) Call(ctx context.Context, auth *ua.NodeID, req ua.Request) (any, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.CallTimeout, ua.StatusBadTimeout)
	defer cancel()
	out := make(chan Reply, 1)
	id, err := c.Go(ctx, req, auth, c.cfg.CallTimeout, out)
	if err != nil {
		return nil, err
	}
	select {
	case r := <-out:
		return r.Decode()
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
		return nil, context.Cause(ctx)
	}
}

// acquire takes the right to send; release returns it.
func (c *Channel) acquire(ctx context.Context) error {
	select {
	case c.sending <- struct{}{}:
		return nil
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Channel) release() { <-c.sending }

func (c *Channel) nextRequest() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastRequest++
	if c.lastRequest == 0 {
		c.lastRequest = 1
	}
	return c.lastRequest
}

func (c *Channel) header(auth *ua.NodeID, id uint32, hint time.Duration) *ua.RequestHeader {
	if auth == nil {
		auth = ua.NewTwoByteNodeID(0)
	}
	return &ua.RequestHeader{
		AuthenticationToken: auth, Timestamp: c.cfg.Now().UTC(), RequestHandle: id,
		TimeoutHint: uint32(hint / time.Millisecond), AdditionalHeader: ua.NewExtensionObject(nil),
	}
}
