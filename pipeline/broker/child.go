package broker

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plantloom/plantloom/internal/child"
)

// Child runs the broker as a supervised process of its own.
type Child struct {
	Output io.Writer // what the process prints; os.Stderr unless set before Run

	argv     []string
	addr     string
	log      *slog.Logger
	once     sync.Once
	ready    chan struct{}
	pid      atomic.Int64
	restarts atomic.Int64
}

// NewChild returns a child that runs argv, which must serve Kafka on addr and
// end when its standard input does (see WatchStdin).
func NewChild(argv []string, addr string, log *slog.Logger) *Child {
	return &Child{Output: os.Stderr, argv: argv, addr: addr, log: log, ready: make(chan struct{})}
}

// Run keeps the process alive until ctx ends, then stops it and returns nil.
// Call it once.
func (c *Child) Run(ctx context.Context) error {
	spec := child.Spec{
		Name: "broker", Argv: c.argv,
		Before: c.free, Ready: c.answers,
		Stdout: c.Output, Stderr: c.Output,
	}
	if err := child.Supervise(ctx, spec, c.log, c.changed); err != nil {
		return fmt.Errorf("running the broker as a child process: %w", err)
	}
	return nil
}

// Ready is closed when the broker has answered for the first time.
func (c *Child) Ready() <-chan struct{} { return c.ready }

// Pid returns the process id, 0 while there is no process.
func (c *Child) Pid() int { return int(c.pid.Load()) }

// Restarts returns how often the process was started again.
func (c *Child) Restarts() int { return int(c.restarts.Load()) }

func (c *Child) changed(s child.State) {
	c.pid.Store(int64(s.Pid))
	if s.Phase == child.Starting || s.Phase == child.Ready {
		c.restarts.Store(int64(s.Restarts))
	}
	if s.Phase == child.Ready {
		c.once.Do(func() { close(c.ready) })
	}
}

// free fails while another program serves the address: the readiness probe
// would be answered by that one, and records would go to a stranger.
func (c *Child) free(ctx context.Context) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.addr)
	if err != nil {
		return fmt.Errorf("address %s is taken by another program, stop it or choose another port: %w", c.addr, err)
	}
	return ln.Close()
}

// answers returns nil when a Kafka broker answers ApiVersions on the address.
func (c *Child) answers(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := kmsg.NewPtrApiVersionsRequest()
	form := kmsg.NewRequestFormatter(kmsg.FormatterClientID("plantloom-probe"))
	if _, err := conn.Write(form.AppendRequest(nil, req, 1)); err != nil {
		return err
	}
	resp, err := readResponse(conn, req, 1)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.(*kmsg.ApiVersionsResponse).ErrorCode)
}

// WatchStdin returns a context that also ends when r (the standard input of a
// child process) does, which means that the parent is gone.
func WatchStdin(ctx context.Context, r io.Reader) context.Context {
	return child.WatchStdin(ctx, r)
}
