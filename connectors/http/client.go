package http

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

const (
	dialTimeout      = 10 * time.Second
	idleTimeout      = 60 * time.Second // below the usual 75 s and more of servers, so that we close first
	maxIdle          = 16               // connections kept; lanes run in parallel
	maxHeaderBytes   = 64 << 10
	tlsHandshakeTime = 10 * time.Second
)

// client sends single requests to one host. It is safe for concurrent use.
type client struct {
	base     string // url without a slash at its end
	hostname string // for people
	auth     Auth
	timeout  time.Duration
	max      int64
	http     *nethttp.Client
	status   *status
}

// answer is a whole answer.
type answer struct {
	status int
	header nethttp.Header
	text   []byte
	value  any // for formulas; nil when text is no JSON
	raw    any // the same with every number as written
	json   error
}

// fault is why there is no whole answer. sent tells whether a byte of the
// request may have reached the peer.
type fault struct {
	err  error
	sent bool
}

// newClient makes the client; it does not connect.
func newClient(c Config, h pipeline.Host) (*client, error) {
	roots, err := readRoots(c.TLS.CAFile, h.Dir)
	if err != nil {
		return nil, err
	}
	var http1 nethttp.Protocols
	http1.SetHTTP1(true)
	transport := &nethttp.Transport{
		Proxy:                  nil, // only the configured host is contacted
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    tlsHandshakeTime,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    maxIdle,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // an answer's bound is then a bound of memory
		Protocols:              &http1,
	}
	u := c.URL.u
	if (c.Auth.Basic != nil || c.Auth.Bearer != nil) && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		h.Log.Warn("the password travels unencrypted: use https in url", "connector", h.ID, "host", u.Host)
	}
	return &client{
		base: strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), hostname: u.Host,
		auth: c.Auth, timeout: c.Timeout, max: int64(c.MaxResponse),
		status: &status{report: h.Report, endpoint: u.Scheme + "://" + u.Host},
		http: &nethttp.Client{
			Transport:     transport,
			CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse },
		},
	}, nil
}

// readRoots returns nil, the system's authorities, when no file is given.
func readRoots(file, dir string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading tls.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading tls.ca_file: %s holds no certificate in PEM form", file)
	}
	return pool, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// do sends one request exactly once. key, when not empty, is its
// Idempotency-Key.
func (c *client) do(ctx context.Context, method, target string, body []byte, key string) (*answer, *fault) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// A connection in hand is where bytes may begin to flow; before that (name,
	// dial, TLS) nothing of the request has left.
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := c.request(ctx, method, target, body, key)
	if err != nil {
		return nil, &fault{err: err}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &fault{err: c.explain(ctx, err), sent: sent.Load()}
	}
	defer func() { _ = resp.Body.Close() }() // after a whole answer there is nothing left to fail
	text, err := io.ReadAll(io.LimitReader(resp.Body, c.max+1))
	if err == nil && int64(len(text)) > c.max {
		err = fmt.Errorf("the answer is longer than max_response (%d bytes)", c.max)
	}
	if err != nil {
		return nil, &fault{err: fmt.Errorf("reading the answer (status %d) of %s: %w", resp.StatusCode, c.hostname, err), sent: true}
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, text: text}
	a.value, a.raw, a.json = parseAny(text)
	return a, nil
}

// request builds a request that the transport cannot replay: it has no GetBody,
// and a posting always has a body. With one, a connection lost after the commit
// would be answered by a second posting as soon as an Idempotency-Key is set
// (reproduced in the tests).
func (c *client) request(ctx context.Context, method, target string, body []byte, key string) (*nethttp.Request, error) {
	var reader io.Reader
	if method != nethttp.MethodGet {
		reader = struct{ io.Reader }{bytes.NewReader(body)}
	}
	req, err := nethttp.NewRequestWithContext(ctx, method, c.base+target, reader)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if reader != nil {
		req.ContentLength = int64(len(body))
		req.GetBody = nil // R1
		if len(body) > 0 {
			req.Header.Set("Content-Type", "application/json")
		}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "plantloom")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return req, c.login(req)
}

// login adds the secret, read anew so that a rotated one needs no restart.
func (c *client) login(req *nethttp.Request) error {
	switch {
	case c.auth.Basic != nil:
		password, err := c.auth.Basic.Password.Reveal()
		if err != nil {
			return fmt.Errorf("auth.basic.password: %w", err)
		}
		req.SetBasicAuth(c.auth.Basic.User, password)
	case c.auth.Bearer != nil:
		token, err := c.auth.Bearer.Token.Reveal()
		if err != nil {
			return fmt.Errorf("auth.bearer.token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return nil
}

// explain says in words what kept an answer from coming.
func (c *client) explain(ctx context.Context, err error) error {
	unknown := new(x509.UnknownAuthorityError)
	switch {
	case errors.As(err, unknown):
		return fmt.Errorf("the certificate of %s is signed by an authority that is not trusted; name its file in tls.ca_file: %w", c.hostname, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no whole answer from %s within timeout (%s): %w", c.hostname, c.timeout, err)
	}
	return fmt.Errorf("asking %s: %w", c.hostname, err)
}

// whoAmI is the login for people, without the secret.
func (c *client) whoAmI() string {
	switch {
	case c.auth.Basic != nil:
		return fmt.Sprintf("user %q", c.auth.Basic.User)
	case c.auth.Bearer != nil:
		return "the bearer token"
	}
	return "a request without login"
}

// status reports changes of the connector's state, each once.
type status struct {
	report   func(pipeline.Status)
	endpoint string

	mu     sync.Mutex
	last   pipeline.ComponentState
	reason string
}

func (s *status) set(state pipeline.ComponentState, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == state && s.reason == reason {
		return
	}
	s.last, s.reason = state, reason
	s.report(pipeline.Status{State: state, Reason: reason, Details: map[string]string{"endpoint": s.endpoint}})
}
