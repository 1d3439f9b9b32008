// Package historian writes the DEMO plant's oldest line into a tag history in
// Ignition's schema, in SQLite or PostgreSQL.
//
// Rows carry their original time and are written at most once per tag and
// time, so that handing the same rows in again after a crash is harmless. The
// package never reads a clock and never decides what a row says. Only the demo
// plant imports it.
package historian

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

// Row is a value of a tag.
type Row struct {
	Path  string // "bottling/l9/good"
	Value any    // string or int64
	At    time.Time
}

// Kinds of tags (sqlth_te.datatype).
const (
	kindInt    = 0
	kindString = 2
)

// goodQuality is dataintegrity of a good value.
const goodQuality = 192

// batch bounds the rows of one transaction.
const batch = 500

// overlap is how far behind the newest row already in the database rows are
// offered again after a start.
const overlap = time.Minute

// Writer writes rows in the background.
type Writer struct {
	driver, dsn string
	log         *slog.Logger
	retry       time.Duration

	mu      sync.Mutex
	pending []Row
	wake    chan struct{}
}

// New returns a writer; nothing is opened before Run. The driver is "sqlite"
// with a file name or "postgres" with a connection string.
func New(driver, target string, log *slog.Logger) (*Writer, error) {
	w := &Writer{dsn: target, log: log, retry: time.Second, wake: make(chan struct{}, 1)}
	switch driver {
	case "sqlite":
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return nil, fmt.Errorf("creating the historian's directory: %w", err)
		}
		w.driver = "sqlite"
		w.dsn = (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: target}).EscapedPath(), RawQuery: url.Values{
			"_pragma": {"journal_mode(WAL)", "busy_timeout(5000)", "synchronous(FULL)"}, "_txlock": {"immediate"},
		}.Encode()}).String()
	case "postgres":
		w.driver = "pgx"
	default:
		return nil, fmt.Errorf("historian driver %q: use sqlite or postgres", driver)
	}
	return w, nil
}

// Put queues rows, oldest first. It does not wait.
func (w *Writer) Put(rows ...Row) {
	if len(rows) == 0 {
		return
	}
	w.mu.Lock()
	w.pending = append(w.pending, rows...)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Oldest returns the time of the oldest row not yet written; ok is false when
// there is none.
func (w *Writer) Oldest() (at time.Time, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return time.Time{}, false
	}
	return w.pending[0].At, true
}

// Run writes until ctx ends. A database that cannot be reached is tried again
// every second; rows wait meanwhile.
func (w *Writer) Run(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if err.Error() != said {
			said = err.Error()
			w.log.Warn("historian not written, will try again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.retry):
		}
	}
}

// session opens the database and writes until an error.
func (w *Writer) session(ctx context.Context) error {
	db, err := sql.Open(w.driver, w.dsn)
	if err != nil {
		return fmt.Errorf("opening the historian: %w", err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	s := &store{db: db, numbered: w.driver == "pgx", tags: map[string]int64{}, partitions: map[string]bool{}}
	if err := s.createTables(ctx); err != nil {
		return fmt.Errorf("creating the historian's tables: %w", err)
	}
	newest, err := s.newest(ctx)
	if err != nil {
		return fmt.Errorf("reading the historian: %w", err)
	}
	w.skip(newest)
	for {
		rows := w.next()
		if len(rows) == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-w.wake:
				continue
			}
		}
		if err := s.write(ctx, rows); err != nil {
			return fmt.Errorf("writing to the historian: %w", err)
		}
		w.drop(len(rows))
	}
}

// skip drops pending rows that the database has for sure: rows are written in
// order.
func (w *Writer) skip(newest time.Time) {
	if newest.IsZero() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.pending) && w.pending[n].At.Before(newest.Add(-overlap)) {
		n++
	}
	w.pending = w.pending[n:]
}

func (w *Writer) next() []Row {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pending[:min(batch, len(w.pending))]
}

func (w *Writer) drop(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = w.pending[n:]
}

// store is an open database. It is used by one goroutine.
type store struct {
	db         *sql.DB
	numbered   bool // placeholders are $1, $2 instead of ?
	tags       map[string]int64
	partitions map[string]bool
}

// bind writes placeholders the driver's way.
func (s *store) bind(query string) string {
	if !s.numbered {
		return query
	}
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r == '?' {
			n++
			fmt.Fprintf(&b, "$%d", n)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
