package gateway

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"

	gatewayv1 "github.com/plantloom/plantloom/gen/plantloom/gateway/v1"
)

//go:embed console
var consoleFiles embed.FS

//go:embed openapi/plantloom.swagger.yaml
var openapi []byte

// jsonForm is how REST writes messages: every field by its JSON name, zero values left out.
var jsonForm = protojson.MarshalOptions{EmitUnpopulated: false}

// handler is everything that HTTP serves. REST calls go through gs over memory, so that both have one path.
func (s *server) handler(ctx context.Context, gs *grpc.Server) (http.Handler, error) {
	pipe := bufconn.Listen(256 << 10)
	go func() {
		<-ctx.Done()
		pipe.Close()
	}()
	go func() {
		if err := gs.Serve(pipe); err != nil && ctx.Err() == nil {
			s.o.Log.Error("the inner API listener ended; restart plantloom", "err", err)
		}
	}()
	conn, err := grpc.NewClient("passthrough:///inner", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		return nil, fmt.Errorf("connecting REST to gRPC: %w", err)
	}
	rest := runtime.NewServeMux(
		runtime.WithErrorHandler(problemHandler), runtime.WithRoutingErrorHandler(routingProblem),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{MarshalOptions: jsonForm, UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false}}),
	)
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		gatewayv1.RegisterOrderServiceHandler, gatewayv1.RegisterTagServiceHandler, gatewayv1.RegisterStatusServiceHandler,
	} {
		if err := register(ctx, rest, conn); err != nil {
			return nil, fmt.Errorf("registering REST: %w", err)
		}
	}
	files, err := fs.Sub(consoleFiles, "console")
	if err != nil {
		return nil, fmt.Errorf("opening the console's files: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", rest)
	mux.HandleFunc("GET /v1/events", s.eventsSSE)
	mux.HandleFunc("GET /v1/tags:watch", s.tagsSSE)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.metricsHandler())
	mux.HandleFunc("GET /openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(openapi) // the client is gone when this fails
	})
	mux.Handle("GET /", secured(http.FileServerFS(files)))
	return mux, nil
}

// secured sets the headers of the console: nothing from elsewhere, no frames.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		h.ServeHTTP(w, r)
	})
}

// readyz says whether the plant is ready; every reason why not stands in the body.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	st, err := s.GetStatus(r.Context(), &gatewayv1.GetStatusRequest{})
	if err == nil && st.GetReady() {
		fmt.Fprintln(w, "ready")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, "not ready")
	if _, reason := s.views.ready(); reason != "" {
		fmt.Fprintf(w, "api: %s\n", reason)
	}
	for _, c := range st.GetComponents() {
		if c.GetState() == gatewayv1.ComponentState_COMPONENT_STATE_DOWN {
			fmt.Fprintf(w, "%s: %s\n", c.GetName(), c.GetReason())
		}
	}
}

// pingEvery keeps idle streams alive through proxies.
const pingEvery = 15 * time.Second
