package sqlhistorian

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// database is an open history and what its dialect does differently.
type database struct {
	*sql.DB
	// exists is a query for the number of tables of a checked name.
	exists func(table string) string
	// alive says whether the database is still the one that was opened.
	alive func() error
}

// opener opens the database of a source; each Run opens it anew.
type opener func(ctx context.Context) (*database, error)

// opener checks what can be checked without connecting.
func (c Config) opener(dir string) (opener, error) {
	if c.Driver == SQLite {
		path := c.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return func(context.Context) (*database, error) { return openSQLite(path) }, nil
	}
	config, err := pgx.ParseConfig(c.URL)
	if err != nil {
		// The driver's text may quote the address with its password.
		return nil, errors.New("url is no address of a PostgreSQL database")
	}
	has := strings.Contains(strings.ToLower(c.URL), "password=")
	if parsed, err := url.Parse(c.URL); err == nil && parsed.User != nil && !has {
		_, has = parsed.User.Password()
	}
	if has {
		return nil, errors.New("url contains a password: write it as password: env:NAME or file:PATH")
	}
	return func(context.Context) (*database, error) { return c.openPostgres(config.Copy()) }, nil
}

func openSQLite(path string) (*database, error) {
	opened, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening the history: %w", err)
	}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"mode": {"ro"}, "_pragma": {"busy_timeout(5000)", "query_only(1)"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("opening the history: %w", err)
	}
	return &database{
		DB: db,
		exists: func(table string) string {
			return `SELECT COUNT(*) FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = lower('` + table + `')`
		},
		// A file that was moved away or replaced stays readable through an open handle.
		alive: func() error {
			now, err := os.Stat(path)
			if err != nil {
				return fmt.Errorf("the history is gone: %w", err)
			}
			if !os.SameFile(opened, now) {
				return fmt.Errorf("the history %s was replaced by another file", path)
			}
			return nil
		},
	}, nil
}

func (c Config) openPostgres(config *pgx.ConnConfig) (*database, error) {
	if c.Password.IsSet() {
		password, err := c.Password.Reveal()
		if err != nil {
			return nil, err
		}
		config.Password = password
	}
	config.RuntimeParams["default_transaction_read_only"] = "on"
	config.RuntimeParams["application_name"] = "plantloom"
	return &database{
		DB:     stdlib.OpenDB(*config),
		exists: func(table string) string { return `SELECT COUNT(to_regclass('` + table + `'))` },
		alive:  func() error { return nil },
	}, nil
}
