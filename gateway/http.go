package gateway

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path"
	"strings"

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
func jsonForm() protojson.MarshalOptions { return protojson.MarshalOptions{EmitUnpopulated: false} }

// inner carries REST calls to gRPC over memory, so that both have one path.
type inner struct {
	listener *bufconn.Listener
	conn     *grpc.ClientConn
}

func newInner() (*inner, error) {
	l := bufconn.Listen(256 << 10)
	conn, err := grpc.NewClient("passthrough:///inner", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connecting REST to gRPC: %w", err), l.Close())
	}
	return &inner{l, conn}, nil
}

func (i *inner) close() error { return errors.Join(i.conn.Close(), i.listener.Close()) }

// handler is everything that HTTP serves.
func (s *server) handler(ctx context.Context, conn *grpc.ClientConn) (http.Handler, error) {
	rest := runtime.NewServeMux(
		runtime.WithErrorHandler(problemHandler), runtime.WithRoutingErrorHandler(routingProblem),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptReserved), // an order id may hold a slash, sent as %2F
		runtime.WithDisablePathLengthFallback(),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{MarshalOptions: jsonForm()}),
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
	mux.Handle("/v1/", strict(rest))
	mux.Handle("/v1/events", only(s.eventsSSE, http.MethodGet))
	mux.Handle("/v1/tags:watch", only(s.tagsSSE, http.MethodGet))
	mux.Handle("/healthz", only(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }, http.MethodGet, http.MethodHead))
	mux.Handle("/readyz", only(s.readyz, http.MethodGet, http.MethodHead))
	mux.Handle("/metrics", only(s.metricsHandler().ServeHTTP, http.MethodGet, http.MethodHead))
	mux.Handle("/openapi.yaml", only(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(openapi) // the client is gone when this fails
	}, http.MethodGet, http.MethodHead))
	mux.Handle("/", console(files))
	return recoverHTTP(s.o.Log, mux), nil
}

// only answers other methods with a problem.
func only(h http.HandlerFunc, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, m := range methods {
			if r.Method == m {
				w.Header().Set("X-Content-Type-Options", "nosniff")
				h(w, r)
				return
			}
		}
		notAllowed(w, r, strings.Join(methods, ", "))
	})
}

// console serves the page. Its headers let it load nothing from elsewhere, run no inline script or style, and stand in
// no frame.
func console(files fs.FS) http.Handler {
	static := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if name == "" {
			name = "index.html"
		}
		if info, err := fs.Stat(files, name); err != nil || info.IsDir() {
			notFound(w, r)
			return
		}
		only(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
			w.Header().Set("Referrer-Policy", "no-referrer")
			w.Header().Set("Cache-Control", "no-cache") // an update of plantloom shows at the next load
			static.ServeHTTP(w, r)
		}, http.MethodGet, http.MethodHead).ServeHTTP(w, r)
	})
}

// readyz says whether the plant is ready; every reason why not stands in the body, one line per component.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
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
