package sqlhistorian

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline"
	"github.com/plantloom/plantloom/pipeline/pipelinetest"
)

// gateway is what writes the history in these tests, in its schema.
type gateway struct {
	path string
	db   *sql.DB
	mu   sync.Mutex
	now  time.Time
	seen []pipeline.Status
	tags []pipeline.Tag
	conf Config

	// Of another database than a file: how to take it away and bring it back.
	stop, start func()
}

const schema = `
CREATE TABLE sqlth_drv (id INTEGER PRIMARY KEY, name VARCHAR(255), provider VARCHAR(255));
CREATE TABLE sqlth_scinfo (id INTEGER PRIMARY KEY, scname VARCHAR(255), drvid INTEGER);
CREATE TABLE sqlth_te (id INTEGER PRIMARY KEY, tagpath VARCHAR(255), scid INTEGER, datatype INTEGER, querymode INTEGER, created BIGINT, retired BIGINT);
CREATE TABLE sqlth_partitions (pname VARCHAR(255), drvid INTEGER, start_time BIGINT, end_time BIGINT, blocksize INTEGER, flags INTEGER);
INSERT INTO sqlth_drv VALUES (1, 'gw', 'default');
INSERT INTO sqlth_scinfo VALUES (1, '_exempt_', 1);`

// newGateway starts a history with the tags A and B, whose paths it stores in
// lower case. The sources on it take its clock, which stands still.
func newGateway(tb testing.TB) *gateway {
	tb.Helper()
	g := &gateway{path: filepath.Join(tb.TempDir(), "history.db"), now: at(0).Add(time.Minute), conf: Defaults()}
	g.conf.Driver, g.conf.File, g.conf.Poll, g.conf.Start = SQLite, g.path, 5*time.Millisecond, StartOldest
	g.open(tb, "sqlite", "file:"+g.path+"?_pragma=busy_timeout(5000)")
	tb.Cleanup(func() {
		if err := g.db.Close(); err != nil {
			tb.Error(err)
		}
	})
	g.fill(tb)
	return g
}

func (g *gateway) open(tb testing.TB, driver, dsn string) {
	tb.Helper()
	var err error
	if g.db, err = sql.Open(driver, dsn); err != nil {
		tb.Fatal(err)
	}
}

// fill makes the schema, two tags and two partitions.
func (g *gateway) fill(tb testing.TB) {
	tb.Helper()
	g.tags = []pipeline.Tag{{ID: "L/A", Address: "Line/A"}, {ID: "L/B", Address: "Line/B"}}
	for _, statement := range strings.Split(schema, ";") {
		g.exec(tb, statement)
	}
	g.tag(tb, 1, "line/a")
	g.tag(tb, 2, "line/b")
	g.partition(tb, "sqlt_data_1_2024_02", at(-40*24*3600), at(0).Add(-time.Hour))
	g.partition(tb, "sqlt_data_1_2024_03", at(0).Add(-time.Hour), at(40*24*3600))
}

// at is the time of second n of the tests.
func at(n int) time.Time {
	return time.Date(2024, 3, 1, 6, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
}

func (g *gateway) exec(tb testing.TB, query string, args ...any) {
	tb.Helper()
	if g.conf.Driver == Postgres {
		for n := 1; strings.Contains(query, "?"); n++ {
			query = strings.Replace(query, "?", fmt.Sprintf("$%d", n), 1)
		}
	}
	if _, err := g.db.ExecContext(context.Background(), query, args...); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
}

func (g *gateway) tag(tb testing.TB, id int, path string) {
	tb.Helper()
	g.exec(tb, `INSERT INTO sqlth_te VALUES (?, ?, 1, 0, 3, 0, NULL)`, id, path)
}

func (g *gateway) partition(tb testing.TB, name string, from, to time.Time) {
	tb.Helper()
	g.exec(tb, `CREATE TABLE IF NOT EXISTS `+name+` (tagid INTEGER, intvalue BIGINT, floatvalue DOUBLE PRECISION, stringvalue VARCHAR(255),
		datevalue TIMESTAMP, dataintegrity INTEGER, t_stamp BIGINT, PRIMARY KEY (tagid, t_stamp))`)
	g.exec(tb, `INSERT INTO sqlth_partitions VALUES (?, 1, ?, ?, 0, 0)`, name, from.UnixMilli(), to.UnixMilli())
}

// row stores an integer with good quality.
func (g *gateway) row(tb testing.TB, table string, id int, at time.Time, value int) {
	tb.Helper()
	g.exec(tb, `INSERT INTO `+table+` (tagid, intvalue, dataintegrity, t_stamp) VALUES (?, ?, 192, ?)`, id, value, at.UnixMilli())
}

const march = "sqlt_data_1_2024_03"

// Source implements pipelinetest.Device.
func (g *gateway) Source(tb testing.TB) pipeline.Source {
	tb.Helper()
	s, err := newSource(g.conf, pipeline.Host{
		ID: "history", Log: slog.New(slog.DiscardHandler), Now: g.clock, Tags: g.tags,
		Report: func(s pipeline.Status) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.seen = append(g.seen, s)
		},
		Count: func(string, float64) {}, Gauge: func(string, float64) {},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func (g *gateway) clock() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *gateway) setClock(t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = t
}

func (g *gateway) statuses() []pipeline.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]pipeline.Status(nil), g.seen...)
}

// Ready implements pipelinetest.Device: a history keeps what comes.
func (g *gateway) Ready(testing.TB) {}

// Put implements pipelinetest.Device.
func (g *gateway) Put(tb testing.TB, readings ...pipelinetest.Reading) {
	tb.Helper()
	integrity := map[pipeline.Quality]int{
		pipeline.Good: 192, pipeline.UncertainLastUsable: 68, pipeline.BadNotConnected: 8, pipeline.BadSensorFailure | 0x700: 19,
	}
	for _, r := range readings {
		id := map[string]int{"L/A": 1, "L/B": 2}[r.Tag]
		g.exec(tb, `INSERT INTO `+march+` (tagid, intvalue, dataintegrity, t_stamp) VALUES (?, ?, ?, ?)`,
			id, r.Value.AsInt(), integrity[r.Quality], r.At.UnixMilli())
	}
}

// Stop implements pipelinetest.Device: the file's share is gone.
func (g *gateway) Stop(tb testing.TB) {
	tb.Helper()
	if g.stop != nil {
		g.stop()
		return
	}
	if err := os.Rename(g.path, g.path+".away"); err != nil {
		tb.Fatal(err)
	}
}

// Start implements pipelinetest.Device.
func (g *gateway) Start(tb testing.TB) {
	tb.Helper()
	if g.start != nil {
		g.start()
		return
	}
	if err := os.Rename(g.path+".away", g.path); err != nil {
		tb.Fatal(err)
	}
}

func fixture(device func(tb testing.TB) pipelinetest.Device) pipelinetest.SourceFixture {
	return pipelinetest.SourceFixture{
		Device: device,
		Tags:   []string{"L/A", "L/B"},
		Qualities: []pipeline.Quality{
			pipeline.Good, pipeline.UncertainLastUsable, pipeline.BadNotConnected, pipeline.BadSensorFailure | 0x700,
		},
		NoPositions: true, // R7: rows come late, repeats are told by identity
	}
}

func TestTheSourceConforms(t *testing.T) {
	pipelinetest.Source(t, fixture(func(tb testing.TB) pipelinetest.Device { return newGateway(tb) }))
}
