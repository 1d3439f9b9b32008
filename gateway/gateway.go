// Package gateway serves the public API: gRPC, the same over REST, Server-Sent Events, health, metrics and the console.
//
// It reads topics and keeps views of them in memory, rebuilt at start (R18); it never writes to the plant's topics and
// never talks to a device or a business system. Only cmd/plantloom imports it, and hands Run to pipeline/run.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
	inboxv1 "github.com/plantloom/plantloom/gen/plantloom/inbox/v1"
	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/kafka"
)

// Options say what is served, and where.
type Options struct {
	HTTP, GRPC string // loopback addresses; there is no authentication in this version
	Client     *kafka.Client
	Partitions int
	Sinks      []string                     // whose dead letters are listed
	Local      func() *inboxv1.StatusReport // of this process
	Report     func(pipeline.Status)
	Version    string
	Namespace  string
	Log        *slog.Logger
	Now        func() time.Time

	limits limits // zero fields take their defaults; tests shorten them
}

// Run serves until ctx ends; then every stream ends and Run returns nil within two seconds. It waits for Kafka as long
// as it takes and answers meanwhile: the status says what is missing. An error says that an address cannot be used.
func Run(ctx context.Context, o Options) error {
	for _, addr := range []string{o.HTTP, o.GRPC} {
		if err := checkLoopback(addr); err != nil {
			return err
		}
	}
	o.limits = o.limits.orDefault()
	grpcListener, err := listen(ctx, o.GRPC)
	if err != nil {
		return err
	}
	httpListener, err := listen(ctx, o.HTTP)
	if err != nil {
		return errors.Join(err, grpcListener.Close())
	}
	s := newServer(o)
	s.where = map[string]string{"http": httpListener.Addr().String(), "grpc": grpcListener.Addr().String()}
	return s.serve(ctx, httpListener, grpcListener)
}

// serve runs everything on the two listeners, which it closes.
func (s *server) serve(ctx context.Context, httpListener, grpcListener net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	gs, h := s.grpcServer()
	inner, err := newInner()
	if err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	handler, err := s.handler(ctx, inner.conn)
	if err != nil {
		return errors.Join(err, inner.close(), grpcListener.Close(), httpListener.Close())
	}
	hs := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, // streams end when we stop
		ErrorLog:    slog.NewLogLogger(s.o.Log.Handler(), slog.LevelWarn),
	}
	g.Go(func() error { return s.views.run(ctx) })
	g.Go(func() error { s.tellReadiness(ctx, h); return nil })
	g.Go(func() error { return serving("gRPC", gs.Serve(grpcListener)) })
	g.Go(func() error { return serving("REST's own gRPC", gs.Serve(inner.listener)) })
	g.Go(func() error { return serving("HTTP", hs.Serve(httpListener)) })
	g.Go(func() error {
		<-ctx.Done()
		return s.stop(ctx, hs, gs, inner)
	})
	return g.Wait()
}

// serving makes the error of a Serve that ended, nil when it was told to.
func serving(what string, err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return fmt.Errorf("serving %s: %w", what, err)
}

// stop lets calls under way finish for a moment, then cuts every connection: a client that does not read its stream
// must not hold the process up. Streams have ended by themselves, because their context has.
func (s *server) stop(ctx context.Context, hs *http.Server, gs *grpc.Server, inner *inner) error {
	graceful, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.limits.grace)
	defer cancel()
	if err := hs.Shutdown(graceful); err != nil {
		hs.Close() //nolint:errcheck // the listener is closed already; the connections are cut
	}
	gs.Stop()
	return inner.close()
}

// tellReadiness keeps the health service and the component's status in step with the views until ctx ends.
func (s *server) tellReadiness(ctx context.Context, h *health.Server) {
	defer h.Shutdown()
	wasReady := false
	for {
		ready, reason := s.views.ready()
		serving, st := healthpb.HealthCheckResponse_NOT_SERVING, pipeline.Status{State: pipeline.Starting, Reason: reason, Details: s.where}
		switch {
		case ready:
			serving, st.State = healthpb.HealthCheckResponse_SERVING, pipeline.Running
		case wasReady:
			st.State = pipeline.Degraded
		}
		wasReady = wasReady || ready
		h.SetServingStatus("", serving)
		for _, name := range serviceNames() {
			h.SetServingStatus(name, serving)
		}
		s.o.Report(st)
		select {
		case <-ctx.Done():
			return
		case <-s.views.changed:
		}
	}
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening on %s (is another plantloom running?): %w", addr, err)
	}
	return l, nil
}

// checkLoopback refuses every address that others could reach, as long as nobody is asked who they are.
func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("api address %q is not host:port: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("api address %q is not on loopback, and this version has no authentication; use 127.0.0.1 and a proxy that authenticates", addr)
	}
	return nil
}

// server implements the four services.
type server struct {
	gatewayv1.UnimplementedOrderServiceServer
	gatewayv1.UnimplementedEventServiceServer
	gatewayv1.UnimplementedTagServiceServer
	gatewayv1.UnimplementedStatusServiceServer
	o       Options
	views   *views
	streams chan struct{} // one token per open stream
	where   map[string]string
	started time.Time
}

func newServer(o Options) *server {
	return &server{o: o, views: newViews(o), started: o.Now(), streams: make(chan struct{}, o.limits.streams)}
}

// serviceNames are the services whose health is told one by one.
func serviceNames() []string {
	return []string{
		gatewayv1.OrderService_ServiceDesc.ServiceName, gatewayv1.EventService_ServiceDesc.ServiceName,
		gatewayv1.TagService_ServiceDesc.ServiceName, gatewayv1.StatusService_ServiceDesc.ServiceName,
	}
}

func (s *server) grpcServer() (*grpc.Server, *health.Server) {
	gs := grpc.NewServer(
		grpc.ChainUnaryInterceptor(recoverUnary(s.o.Log)), grpc.ChainStreamInterceptor(recoverStream(s.o.Log)),
		grpc.WaitForHandlers(true), grpc.MaxSendMsgSize(maxAnswer), grpc.MaxRecvMsgSize(1<<20),
		// A client whose host is gone without a word must not keep its stream.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	gatewayv1.RegisterOrderServiceServer(gs, s)
	gatewayv1.RegisterEventServiceServer(gs, s)
	gatewayv1.RegisterTagServiceServer(gs, s)
	gatewayv1.RegisterStatusServiceServer(gs, s)
	h := health.NewServer()
	h.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(gs, h)
	reflection.Register(gs)
	return gs, h
}
