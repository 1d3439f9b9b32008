//go:build e2e

package sqlhistorian

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plantloom/plantloom/e2e/servers"
	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/pipeline/pipelinetest"
)

// newPostgresGateway starts an empty history in a PostgreSQL server.
func newPostgresGateway(tb testing.TB, server *servers.PostgresServer) *gateway {
	tb.Helper()
	g := &gateway{now: at(0).Add(time.Minute), conf: Defaults()}
	g.conf.Driver, g.conf.Poll, g.conf.Start = Postgres, 5*time.Millisecond, StartOldest
	address, err := url.Parse(server.DSN)
	if err != nil {
		tb.Fatal(err)
	}
	password, _ := address.User.Password()
	file := filepath.Join(tb.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	if g.conf.Password, err = conf.NewSecret("file:"+file, ""); err != nil {
		tb.Fatal(err)
	}
	address.User = url.User(address.User.Username())
	g.conf.URL = address.String()
	g.open(tb, "pgx", server.DSN)
	g.stop = func() {
		if err := g.db.Close(); err != nil {
			tb.Error(err)
		}
		server.Stop()
	}
	g.start = func() {
		server.Restart()
		g.open(tb, "pgx", server.DSN)
	}
	tb.Cleanup(func() { _ = g.db.Close() })
	g.exec(tb, `DROP SCHEMA public CASCADE`)
	g.exec(tb, `CREATE SCHEMA public`)
	g.fill(tb)
	return g
}

func TestTheSourceConformsOnPostgreSQL(t *testing.T) {
	server := servers.Postgres(t)
	f := fixture(func(tb testing.TB) pipelinetest.Device { return newPostgresGateway(tb, server) })
	f.Goroutines = []goleak.Option{
		goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"),
		// The restarted server belongs to the test.
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"), goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"),
	}
	pipelinetest.Source(t, f)
}

func TestEveryColumnOfARowIsReadFromPostgreSQL(t *testing.T) {
	g := newPostgresGateway(t, servers.Postgres(t))
	insert := `INSERT INTO ` + march + ` (tagid, t_stamp, dataintegrity, floatvalue, stringvalue, datevalue) VALUES (1, ?, 192, ?, ?, ?)`
	g.exec(t, insert, at(1).UnixMilli(), 0.5, nil, nil)
	g.exec(t, insert, at(2).UnixMilli(), nil, "größe", nil)
	g.exec(t, insert, at(3).UnixMilli(), nil, nil, at(0))
	g.exec(t, `INSERT INTO sqlth_partitions VALUES ('sqlt_data_1_2023_01', 1, 0, ?, 0, 0)`, at(0).UnixMilli())
	rec, stop := follow(t, g, nil)
	defer stop()
	wantSamples(t, rec, "L/A=0.5@1", "L/A=größe@2", "L/A=2024-03-01T06:00:00Z@3")
	if said := g.statuses(); len(said) != 1 || said[0].Reason == "" {
		t.Errorf("a partition that is gone is not named: %+v", said)
	}
}
