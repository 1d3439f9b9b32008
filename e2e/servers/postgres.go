package servers

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plantloom/plantloom/internal/child"
)

const postgresBin = "/usr/lib/postgresql/15/bin"

// PostgresServer is an empty PostgreSQL 15 with one database.
type PostgresServer struct {
	DSN string // postgres://user:password@host:port/historian?sslmode=disable

	t    testing.TB
	dir  string
	port int
	as   []string // what runs a command as a user that PostgreSQL accepts
	proc *child.Process
}

// Postgres installs PostgreSQL 15 and starts it on a new directory with an
// empty database "historian".
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	if _, err := os.Stat(postgresBin + "/initdb"); err != nil {
		apt(t, postgresBin+"/initdb", "postgresql-15")
	}
	p := &PostgresServer{t: t, port: FreePort(t)}
	p.prepare()
	password := rand.Text()
	pwfile := filepath.Join(p.dir, "password")
	p.write(pwfile, password)
	run(t, startLimit, p.dir, append(p.as, postgresBin+"/initdb", "--pgdata", p.data(), "--username", "plantloom",
		"--pwfile", pwfile, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")...)
	p.start()
	base := fmt.Sprintf("postgres://plantloom:%s@127.0.0.1:%d/", password, p.port)
	run(t, startLimit, p.dir, postgresBin+"/psql", "-q", base+"postgres", "-c", "CREATE DATABASE historian")
	p.DSN = base + "historian?sslmode=disable"
	return p
}

// prepare makes a directory for the server. PostgreSQL refuses to run as root:
// then it runs as the user that its package has made.
func (p *PostgresServer) prepare() {
	p.t.Helper()
	dir, err := os.MkdirTemp("", "plantloom-postgres-") // not t.TempDir: its parent is closed to other users
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { os.RemoveAll(dir) })
	p.dir = dir
	if os.Getuid() != 0 {
		return
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		p.t.Fatal(err)
	}
	uid, uerr := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	if uerr != nil || gerr != nil {
		p.t.Fatalf("user postgres has ids %s and %s", u.Uid, u.Gid)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		p.t.Fatal(err)
	}
	// Changing the user clears the parent-death signal, so it is set again.
	p.as = []string{"setpriv", "--reuid", u.Uid, "--regid", u.Gid, "--clear-groups", "--pdeathsig", "KILL"}
}

// write writes a file that the server's user can read.
func (p *PostgresServer) write(path, text string) {
	p.t.Helper()
	cmd := append(p.as, "sh", "-c", `umask 077; cat > "$1"`, "sh", path)
	c := exec.CommandContext(p.t.Context(), cmd[0], cmd[1:]...)
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		p.t.Fatalf("writing %s: %v\n%s", path, err, out)
	}
}

func (p *PostgresServer) data() string { return filepath.Join(p.dir, "data") }

// start runs the server and waits until it accepts connections. After a kill
// the old sessions hold the shared memory for a moment: then it tries again.
func (p *PostgresServer) start() {
	p.t.Helper()
	port := strconv.Itoa(p.port)
	spec := child.Spec{
		Name: "postgres", Dir: p.dir, Grace: 3 * time.Second,
		Argv: append(p.as, postgresBin+"/postgres", "-D", p.data(), "-p", port, "-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories="+p.dir, "-c", "fsync=off", "-c", "timezone=UTC"),
	}
	ready := func(ctx context.Context) error {
		_, err := try(ctx, 5*time.Second, p.dir, postgresBin+"/pg_isready", "-q", "-h", "127.0.0.1", "-p", port)
		return err
	}
	for tries := 0; ; tries++ {
		proc, said := launch(p.t, spec)
		p.proc = proc
		select {
		case <-proc.Done():
			if tries < 50 && strings.Contains(said.String(), "shared memory block") {
				continue
			}
		case <-time.After(100 * time.Millisecond):
		}
		await(p.t, "PostgreSQL", proc, said, ready)
		return
	}
}

// Stop ends the server; it waits for no client (fast shutdown is what SIGINT
// does, and SIGTERM would wait for the sessions to end).
func (p *PostgresServer) Stop() {
	p.t.Helper()
	run(p.t, startLimit, p.dir, append(p.as, postgresBin+"/pg_ctl", "-D", p.data(), "-m", "fast", "-w", "stop")...)
	<-p.proc.Done()
}

// Kill ends the server with SIGKILL.
func (p *PostgresServer) Kill() { p.proc.Kill() }

// Restart starts a stopped or killed server again: same DSN, same data.
func (p *PostgresServer) Restart() {
	p.t.Helper()
	p.start()
}
