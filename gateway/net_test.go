package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// gate is the broker's network: closed, it cuts every connection and takes no new one.
type gate struct {
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func (g *gate) listen(network, addr string) (net.Listener, error) {
	l, err := net.Listen(network, addr)
	return gateListener{l, g}, err
}

func (g *gate) set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
	if closed {
		for c := range g.conns {
			c.Close()
		}
	}
}

type gateListener struct {
	net.Listener
	g *gate
}

func (l gateListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.g.mu.Lock()
	defer l.g.mu.Unlock()
	if l.g.closed {
		c.Close()
		return c, nil
	}
	if l.g.conns == nil {
		l.g.conns = map[net.Conn]bool{}
	}
	l.g.conns[c] = true
	return c, nil
}

// sseClient reads one event stream.
type sseClient struct {
	t      *testing.T
	res    *http.Response
	lines  chan string
	cancel context.CancelFunc
	lastID string
}

// sse opens a stream; it must be answered with 200.
func (w *world) sse(path, lastEventID string) *sseClient {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.http+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		cancel()
		w.t.Fatalf("GET %s: %d %s", path, res.StatusCode, b)
	}
	c := &sseClient{t: w.t, res: res, lines: make(chan string), cancel: cancel}
	go func() {
		defer close(c.lines)
		defer res.Body.Close()
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			select {
			case c.lines <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	w.t.Cleanup(cancel)
	return c
}

// next returns the next event with data, and keeps Last-Event-ID as a browser does.
func (c *sseClient) next() (event, data string) {
	c.t.Helper()
	late := time.After(15 * time.Second)
	for {
		select {
		case line, ok := <-c.lines:
			key, value, _ := strings.Cut(line, ": ")
			switch {
			case !ok:
				return "", "" // the server has ended the stream
			case key == "id":
				c.lastID = value
			case key == "event":
				event = value
			case key == "data":
				data = value
			case line == "" && data != "":
				return event, data
			}
		case <-late:
			c.t.Fatal("no event came")
		}
	}
}
