package uaserver

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gopcua/opcua/server"
	"github.com/gopcua/opcua/ua"
)

// Server is an OPC UA server. Create it with New, add variables, Start it.
// Variables may also be added while it runs.
type Server struct {
	opts Options
	log  *slog.Logger
	url  string

	cert []byte // DER
	key  *rsa.PrivateKey

	lib  *server.Server
	gate *gate
	ns0  server.NameSpace
	ns   uint16 // index of Options.NamespaceURI
	uris []string
	wg   sync.WaitGroup

	stopGate, stopLib context.CancelFunc
	faultMu           sync.Mutex
	inject            func(service string, n int) *Fault
	calls             map[string]int

	libMu sync.Mutex // serialises reads of the library's standard nodes

	mu       sync.Mutex
	nodes    map[string]*Var // by NodeID.String()
	names    map[string]*Var
	tree     *folder
	changed  uint64 // numbers every value set, in order
	sessions map[string]*session
	subs     map[uint32]*subscription
	nextSub  uint32
	nextItem uint32
	started  time.Time
	state    ua.ServerState
	shutdown uint32
	level    byte
	running  bool
	closed   bool
}

// New prepares a server; nothing listens before Start.
func New(opts Options) (*Server, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	s := &Server{
		opts: opts, log: opts.Log, calls: map[string]int{},
		nodes: map[string]*Var{}, names: map[string]*Var{}, tree: newFolder("", nil),
		sessions: map[string]*session{}, subs: map[uint32]*subscription{},
		state: ua.ServerStateSuspended, level: 255,
	}
	s.uris = append([]string{"http://opcfoundation.org/UA/", opts.ApplicationURI}, opts.ExtraNamespaces...)
	s.uris = append(s.uris, opts.NamespaceURI)
	s.ns = uint16(len(s.uris) - 1)
	if opts.Secure {
		if err := s.loadCertificate(); err != nil {
			return nil, err
		}
	}
	s.addStandardNodes()
	return s, nil
}

// Start binds the address and serves until ctx ends; Close must be called in
// any case. A server starts once.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	if s.running || s.closed {
		s.mu.Unlock()
		return errors.New("uaserver: started already")
	}
	s.running = true
	s.mu.Unlock()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.opts.Addr)
	if err != nil {
		return fmt.Errorf("listening for OPC UA: %w", err)
	}
	s.url = s.opts.EndpointURL
	if s.url == "" {
		s.url = "opc.tcp://" + ln.Addr().String()
	}
	s.gate = newGate(ln, s.connClosed)
	// Two contexts: connections end before the library does.
	libCtx, stopLib := context.WithCancel(context.WithoutCancel(ctx))
	gateCtx, stopGate := context.WithCancel(ctx)
	s.stopLib, s.stopGate = stopLib, stopGate
	begin := s.startLibrary
	if s.opts.Lean {
		begin = s.startLean
	}
	if s.gate.inner, err = begin(libCtx); err != nil {
		stopLib()
		stopGate()
		return errors.Join(err, ln.Close())
	}
	context.AfterFunc(gateCtx, func() { _ = ln.Close() })
	s.mu.Lock()
	s.started = s.opts.Now()
	s.state = ua.ServerStateRunning
	s.mu.Unlock()
	s.wg.Go(func() { s.gate.run(gateCtx, s.serve) })
	s.log.Info("OPC UA server started", "url", s.url)
	return nil
}

// startLibrary starts gopcua's server on a free loopback port. The library
// cannot say which port it got for port 0, so one is chosen first, and again
// when another process took it in between.
func (s *Server) startLibrary(ctx context.Context) (addr string, err error) {
	for range 10 {
		var port int
		if port, err = freePort(ctx); err != nil {
			return "", fmt.Errorf("choosing an inner port: %w", err)
		}
		opts := []server.Option{
			server.EndPoint("127.0.0.1", port),
			server.EnableSecurity("None", ua.MessageSecurityModeNone),
			server.EnableAuthMode(ua.UserTokenTypeAnonymous),
			server.SetLogger(listener{s}),
		}
		if s.cert != nil {
			opts = append(opts, server.Certificate(s.cert), server.PrivateKey(s.key))
		}
		s.lib = server.New(opts...)
		if s.ns0, err = s.lib.Namespace(0); err != nil {
			return "", err
		}
		s.registerHandlers()
		if err = s.lib.Start(ctx); err == nil {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
		}
	}
	return "", fmt.Errorf("starting the OPC UA library: %w", err)
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// listener hears what the library logs. A client that hangs up is an error to
// the library, so its words go to the debug level; but when it gives up on a
// channel, it says so here only and leaves the socket open, and the client
// waiting.
type listener struct{ s *Server }

// Debug implements server.Logger.
func (l listener) Debug(string, ...any) {}

// Info implements server.Logger.
func (l listener) Info(string, ...any) {}

// Warn implements server.Logger.
func (l listener) Warn(msg string, args ...any) {
	l.s.log.Debug("opcua: " + fmt.Sprintf(msg, args...))
}

// Error implements server.Logger.
func (l listener) Error(msg string, args ...any) {
	l.s.log.Debug("opcua: " + fmt.Sprintf(msg, args...))
	if len(args) > 0 && strings.HasPrefix(msg, "Secure Channel ") {
		if id, ok := args[0].(uint32); ok {
			l.s.gate.cutChannel(id)
		}
	}
}

// Close ends all connections and sessions and waits for every goroutine of
// the server. It is safe to call twice.
func (s *Server) Close() error {
	s.mu.Lock()
	done := s.closed || !s.running
	s.closed = true
	s.state = ua.ServerStateShutdown
	for _, sub := range s.subs {
		sub.remove()
	}
	for _, sess := range s.sessions {
		sess.timer.Stop()
	}
	s.mu.Unlock()
	if done || s.stopGate == nil {
		return nil
	}
	// Clients first: the library waits for its connections to end.
	s.stopGate()
	err := s.gate.stop()
	if s.lib != nil {
		err = errors.Join(err, s.lib.Close())
	}
	s.stopLib()
	s.wg.Wait()
	s.log.Info("OPC UA server stopped", "url", s.url)
	return err
}

// URL returns the endpoint URL; it is known after Start.
func (s *Server) URL() string { return s.url }

// Namespace returns the index of Options.NamespaceURI on this server.
func (s *Server) Namespace() uint16 { return s.ns }

// SetLimits changes the limits while the server runs. Grants already given
// (revised values) stay.
func (s *Server) SetLimits(f func(*Limits)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.opts.Limits)
	s.opts.Limits.setDefaults()
}

// SetState changes ServerStatus.State and SecondsTillShutdown, which is how a
// server announces that it will end.
func (s *Server) SetState(state ua.ServerState, secondsTillShutdown uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.shutdown = state, secondsTillShutdown
}

// SetServiceLevel changes Server_ServiceLevel (255 is best; Part 4, 6.6.2.4.2).
func (s *Server) SetServiceLevel(level byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level = level
}

// Stats counts what clients hold on the server now.
type Stats struct {
	Connections, Sessions, Subscriptions, MonitoredItems int
	PublishRequests                                      int // queued, over all sessions
	Unacknowledged                                       int // messages kept for Republish
	HistoryContinuationPoints                            int
}

// Stats returns the present counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Sessions: len(s.sessions), Subscriptions: len(s.subs)}
	if s.gate != nil {
		st.Connections = s.gate.count()
	}
	for _, sess := range s.sessions {
		st.PublishRequests += len(sess.publish)
		st.HistoryContinuationPoints += len(sess.history)
	}
	for _, sub := range s.subs {
		st.MonitoredItems += len(sub.items)
		st.Unacknowledged += len(sub.sent)
	}
	return st
}
