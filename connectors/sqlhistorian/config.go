package sqlhistorian

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/plantloom/plantloom/internal/conf"
)

// Config is the configuration of a source of kind sqlhistorian. The comments of
// its fields are the reference; the README's table is made from them.
type Config struct {
	// The database: sqlite or postgres.
	Driver Driver `conf:"driver,required"`
	// Of sqlite: the database file, relative to the plant directory. It is opened read-only.
	File string `conf:"file"`
	// Of postgres: the address without a password, such as postgres://reader@db.example:5432/ignition?sslmode=verify-full.
	URL string `conf:"url"`
	// Of postgres: the password, as env:NAME or file:PATH.
	Password conf.Secret `conf:"password"`
	// The gateway whose history it is (column name of sqlth_drv); needed when several write into one database.
	System string `conf:"system"`
	// A single data table, such as sqlth_1_data, instead of the partitions that sqlth_partitions lists.
	Table string `conf:"table"`
	// Where the very first start begins: now, oldest, or an RFC 3339 time.
	Start Start `conf:"start"`
	// How often the end of the history is read.
	Poll time.Duration `conf:"poll,positive"`
	// How far before the newest row each poll reads again, for rows that were stored late. Later ones are not seen.
	Overlap time.Duration `conf:"overlap"`
	// How late rows usually are. The watermark is the present minus this.
	Lag time.Duration `conf:"lag"`
	// Rows older than this when they are read are marked as historical.
	HistoricalAfter time.Duration `conf:"historical_after,positive"`
	// Rows per query.
	Page int `conf:"page,positive"`
	// Bounds one query.
	Timeout time.Duration `conf:"timeout,positive"`
}

// Defaults returns the configuration before the file is read.
func Defaults() Config {
	return Config{
		Start: StartNow, Poll: time.Second, Overlap: 30 * time.Second, Lag: 10 * time.Second,
		HistoricalAfter: 10 * time.Minute, Page: 5000, Timeout: 30 * time.Second,
	}
}

// Driver is a kind of database.
type Driver string

// The drivers.
const (
	SQLite   Driver = "sqlite"
	Postgres Driver = "postgres"
)

// Values implements conf.Enum.
func (Driver) Values() []string { return []string{string(SQLite), string(Postgres)} }

// Start is where the very first start begins: StartNow, StartOldest or a time.
type Start string

// The named starts.
const (
	StartNow    Start = "now"
	StartOldest Start = "oldest"
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Start) UnmarshalText(text []byte) error {
	start := Start(text)
	if _, err := start.at(time.Time{}); err != nil {
		return err
	}
	*s = start
	return nil
}

// at returns the time that s stands for; the zero time is that of the oldest row.
func (s Start) at(now time.Time) (time.Time, error) {
	switch s {
	case StartNow:
		return now, nil
	case StartOldest:
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, string(s))
	if err != nil {
		return time.Time{}, fmt.Errorf("start is %q, want now, oldest or a time such as 2024-03-01T06:00:00Z", string(s))
	}
	return t.UTC(), nil
}

// tableName is what may stand in a query as the name of a table; with a schema
// in front where need be.
var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

func (c Config) check() error {
	switch {
	case c.Driver == SQLite && c.File == "":
		return errors.New("driver sqlite needs file: the path of the database")
	case c.Driver == SQLite && (c.URL != "" || c.Password.IsSet()):
		return errors.New("driver sqlite takes file:, not url: or password:")
	case c.Driver == Postgres && c.URL == "":
		return errors.New("driver postgres needs url: the address of the database")
	case c.Driver == Postgres && c.File != "":
		return errors.New("driver postgres takes url:, not file:")
	case c.Table != "" && !tableName.MatchString(c.Table):
		return fmt.Errorf("table is %q, want the name of a table", c.Table)
	case c.Overlap < 0 || c.Lag < 0:
		return errors.New("overlap and lag cannot be below zero")
	}
	_, err := c.Start.at(time.Time{})
	return err
}
