package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// Config says which cluster to use and how. The zero value of an optional field is a safe default.
type Config struct {
	Brokers    []string // host:port; at least one
	Namespace  string   // prefix of every topic, group and transactional id
	Partitions int      // of the keyed topics, fixed when they are created
	Embedded   bool     // the broker of pipeline/broker: no compaction, one replica, no transaction over a crash (R5)
	ClientID   string   // default "plantloom"
	Log        *slog.Logger
	Now        func() time.Time // gives record timestamps (R8)
	TLS        *tls.Config      // nil: no TLS
}

// Client is a connection to one cluster, safe for use by many goroutines.
type Client struct {
	cfg    Config
	ctx    context.Context // ends with Close; bounds the goroutines of producers and connections
	cancel context.CancelFunc
	wg     sync.WaitGroup
	addr   net.Addr
	wire   atomic.Pointer[link]

	mu     sync.Mutex
	counts map[string]int32 // topic -> partitions
}

// link is one transport with its pool of connections. It is replaced as a whole after an error, because kafka-go has no
// other way to forget stale connections and cluster metadata at once.
type link struct {
	t    *kgo.Transport
	aged atomic.Bool // old enough to be replaced
}

const (
	dialTimeout    = 5 * time.Second
	requestTimeout = 15 * time.Second
	// metadataTTL bounds the age of the cluster layout while nothing fails; a failure renews it at once.
	metadataTTL = 30 * time.Second
	// linkAge keeps many failing callers from replacing the transport of one another.
	linkAge = 250 * time.Millisecond
)

// Open checks cfg and returns a client. It does not connect: the first call does.
func Open(cfg Config) (*Client, error) {
	switch {
	case len(cfg.Brokers) == 0:
		return nil, errors.New("no broker address is configured: set kafka.brokers or kafka.embedded")
	case cfg.Namespace == "":
		return nil, errors.New("the namespace is empty: set namespace")
	case cfg.Partitions < 1:
		return nil, fmt.Errorf("%d partitions are configured, at least 1 is needed", cfg.Partitions)
	case cfg.Now == nil:
		return nil, errors.New("no clock is given")
	}
	for _, b := range cfg.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return nil, fmt.Errorf("broker address %q is not host:port: %w", b, err)
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "plantloom"
	}
	c := &Client{cfg: cfg, addr: kgo.TCP(cfg.Brokers...), counts: map[string]int32{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.wire.Store(c.newLink())
	return c, nil
}

// Close ends every call under way and waits for the client's goroutines. Records whose Produce has not returned may
// or may not be durable.
func (c *Client) Close() {
	c.cancel()
	c.wire.Load().t.CloseIdleConnections()
	c.wg.Wait()
}

// Topic returns the full name of a topic, for example "plantloom.inbox.v1" for "inbox.v1".
func (c *Client) Topic(suffix string) string { return c.cfg.Namespace + "." + suffix }

// Namespace returns the prefix of topics, groups and transactional ids.
func (c *Client) Namespace() string { return c.cfg.Namespace }

// Partitions returns the configured number of partitions of keyed topics.
func (c *Client) Partitions() int { return c.cfg.Partitions }

func (c *Client) newLink() *link {
	d := &net.Dialer{Timeout: dialTimeout}
	l := &link{t: &kgo.Transport{
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			if c.cfg.TLS != nil {
				return conn, nil // the frames are inside TLS; a peer that is not Kafka fails in the handshake
			}
			return &frameGuard{Conn: conn, addr: addr}, nil
		},
		DialTimeout: dialTimeout, MetadataTTL: metadataTTL, ClientID: c.cfg.ClientID,
		TLS: c.cfg.TLS, Context: c.ctx,
	}}
	time.AfterFunc(linkAge, func() { l.aged.Store(true) })
	return l
}

// renew replaces the transport that a caller has found failing, unless another caller has done it or it is very young.
func (c *Client) renew(failed *link) {
	if !failed.aged.Load() || c.ctx.Err() != nil {
		return
	}
	next := c.newLink()
	if c.wire.CompareAndSwap(failed, next) {
		failed.t.CloseIdleConnections()
	}
}

// roundTrip sends one request. Errors of the network and of stale cluster metadata make the next call start afresh.
func (c *Client) roundTrip(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, errClosed
	}
	l := c.wire.Load()
	tctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := l.t.RoundTrip(tctx, c.addr, req)
	if err == nil {
		return res, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if c.ctx.Err() != nil {
		return nil, errClosed
	}
	// Without metadata kafka-go says that there is no topic; what it could not reach is more useful.
	if errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) {
		if _, merr := l.t.RoundTrip(tctx, c.addr, &metadata.Request{}); merr != nil {
			err = merr
		}
	}
	c.renew(l)
	return nil, err
}

// stale is called with an error code that a broker gave: codes that say that the layout has moved renew it.
func (c *Client) stale(err error) {
	if movesLayout(err) {
		c.renew(c.wire.Load())
	}
}

// layout returns the cluster's metadata, at most metadataTTL old.
func (c *Client) layout(ctx context.Context) (*metadata.Response, error) {
	res, err := c.roundTrip(ctx, &metadata.Request{})
	if err != nil {
		return nil, err
	}
	return res.(*metadata.Response), nil
}

// Ping connects anew, asks the cluster for its metadata once and says in words what is wrong.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	l := c.newLink()
	defer l.t.CloseIdleConnections()
	m, err := l.t.RoundTrip(ctx, c.addr, &metadata.Request{})
	if err != nil {
		return fmt.Errorf("reaching Kafka at %s: %w", c.addr, explain(err))
	}
	if len(m.(*metadata.Response).Brokers) == 0 {
		return fmt.Errorf("reaching Kafka at %s: it names no broker of its cluster; it may be starting", c.addr)
	}
	return nil
}
