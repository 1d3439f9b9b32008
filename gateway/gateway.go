// Package gateway serves the public API: gRPC, the same over REST, Server-Sent Events, health, metrics and the console.
//
// It reads topics and keeps views of them in memory, rebuilt at start (R18); it never writes to the plant's topics and
// never talks to a device or a business system. cmd/plantloom hands Run to pipeline/run.
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
}

// Run serves until ctx ends.
func Run(ctx context.Context, o Options) error {
	for _, addr := range []string{o.HTTP, o.GRPC} {
		if err := checkLoopback(addr); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	s := &server{o: o, views: newViews(o), started: o.Now()}
	grpcListener, err := listen(ctx, o.GRPC)
	if err != nil {
		return err
	}
	httpListener, err := listen(ctx, o.HTTP)
	if err != nil {
		grpcListener.Close()
		return err
	}
	gs := s.grpcServer()
	handler, err := s.handler(ctx, gs)
	if err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	hs := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, // streams end when we stop
	}
	g.Go(func() error { return s.views.run(ctx) })
	g.Go(func() error { return gs.Serve(grpcListener) })
	g.Go(func() error {
		if err := hs.Serve(httpListener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving HTTP: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stopped, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		err := hs.Shutdown(stopped)
		gs.Stop()
		return err
	})
	o.Report(pipeline.Status{State: pipeline.Running, Details: map[string]string{"http": httpListener.Addr().String(), "grpc": grpcListener.Addr().String()}})
	err = g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return nil // a client held its stream open while we stopped
	}
	return err
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
	started time.Time
}

func (s *server) grpcServer() *grpc.Server {
	gs := grpc.NewServer(grpc.ChainUnaryInterceptor(recoverUnary(s.o.Log)), grpc.ChainStreamInterceptor(recoverStream(s.o.Log)))
	gatewayv1.RegisterOrderServiceServer(gs, s)
	gatewayv1.RegisterEventServiceServer(gs, s)
	gatewayv1.RegisterTagServiceServer(gs, s)
	gatewayv1.RegisterStatusServiceServer(gs, s)
	h := health.NewServer()
	healthpb.RegisterHealthServer(gs, h)
	reflection.Register(gs)
	return gs
}
