package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

// domain is the ErrorInfo domain of every error of the API.
const domain = "plantloom"

// fail makes a status with an ErrorInfo: reason is stable, in UPPER_SNAKE_CASE.
func fail(code codes.Code, reason, message string, meta map[string]string, more ...protoadapt.MessageV1) error {
	st := status.New(code, message)
	details := append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: meta}}, more...)
	if d, err := st.WithDetails(details...); err == nil {
		st = d
	}
	return st.Err()
}

// badField is INVALID_ARGUMENT about one field.
func badField(field, message string) error {
	return fail(codes.InvalidArgument, "INVALID_FIELD", field+": "+message, nil,
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: message}}})
}

// problem is RFC 9457's problem document.
type problem struct {
	Type     string            `json:"type"`
	Title    string            `json:"title"`
	Status   int               `json:"status"`
	Detail   string            `json:"detail"`
	Reason   string            `json:"reason,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Errors   []fieldError      `json:"errors,omitempty"`
}

type fieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func problemOf(st *status.Status) problem {
	code := runtime.HTTPStatusFromCode(st.Code())
	if st.Code() == codes.OutOfRange {
		code = http.StatusGone // the cursor's events are gone
	}
	p := problem{Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: st.Message()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			p.Reason, p.Metadata = d.GetReason(), d.GetMetadata()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				p.Errors = append(p.Errors, fieldError{v.GetField(), v.GetDescription()})
			}
		}
	}
	return p
}

func writeProblem(w http.ResponseWriter, st *status.Status) { problemOf(st).write(w) }

func (p problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		h.Set("Retry-After", "2")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone when this fails
}

func problemHandler(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	writeProblem(w, status.Convert(err))
}

// routingProblem answers unknown paths and methods of REST.
func routingProblem(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	switch code {
	case http.StatusMethodNotAllowed:
		notAllowed(w, r, http.MethodGet)
	case http.StatusNotFound:
		notFound(w, r)
	default:
		problem{Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: "the request's path cannot be read", Reason: "BAD_PATH"}.write(w)
	}
}

func notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, status.Convert(fail(codes.NotFound, "NO_SUCH_RESOURCE", "no resource at "+r.URL.Path+"; see /openapi.yaml", nil)))
}

func notAllowed(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	code := http.StatusMethodNotAllowed
	problem{Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: r.Method + " is not allowed at " + r.URL.Path + "; use " + allow, Reason: "METHOD_NOT_ALLOWED"}.write(w)
}

func recoverUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (res any, err error) {
		defer recovered(log, info.FullMethod, &err)
		return next(ctx, req)
	}
}

func recoverStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
		defer recovered(log, info.FullMethod, &err)
		return next(srv, ss)
	}
}

func errPanic() error {
	return fail(codes.Internal, "PANIC", "the call failed inside plantloom; its log has the details", nil)
}

func recovered(log *slog.Logger, method string, err *error) {
	if v := recover(); v != nil {
		log.Error("an API call panicked; please report it with this stack", "method", method, "panic", v, "stack", string(debug.Stack()))
		*err = errPanic()
	}
}

// recoverHTTP answers a panic of a handler as a problem, where nothing was sent yet; else the connection is cut, so
// that the client does not take what it has for the whole.
func recoverHTTP(log *slog.Logger, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := &begunWriter{ResponseWriter: w}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // net/http's own sentinel, compared as it does
				panic(v)
			}
			log.Error("an API call panicked; please report it with this stack", "method", r.Method+" "+r.URL.Path, "panic", v, "stack", string(debug.Stack()))
			if begun.begun {
				panic(http.ErrAbortHandler)
			}
			writeProblem(w, status.Convert(errPanic()))
		}()
		h.ServeHTTP(begun, r)
	})
}

// begunWriter knows whether an answer has begun.
type begunWriter struct {
	http.ResponseWriter
	begun bool
}

func (w *begunWriter) WriteHeader(code int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(code)
}

func (w *begunWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach Flush and deadlines.
func (w *begunWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
