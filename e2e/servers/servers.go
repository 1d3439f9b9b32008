// Package servers runs third-party servers and tools for end-to-end tests:
// Apache Kafka, PostgreSQL, node-opcua, kcat, grpcurl and Chromium. Each is
// installed on first use by its ordinary package manager and kept in a cache
// outside the tree: the directory in PLANTLOOM_CACHE, else plantloom-e2e in the
// user's cache directory.
//
// It never replaces a server by a fake and never skips a test: what cannot be
// installed or started fails the test with the reason. Servers bind loopback
// addresses with free ports, keep their files in temporary directories and end
// with the test, or with its process if that is killed.
//
// Importers: tests under e2e.
package servers

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plantloom/plantloom/internal/child"
)

const (
	installLimit = 10 * time.Minute // one installation, on a slow line
	startLimit   = 60 * time.Second // from the start of a server to its first answer
	pollEvery    = 50 * time.Millisecond
)

// cacheDir returns a directory in the cache, which it creates.
func cacheDir(t testing.TB, name string) string {
	t.Helper()
	root := os.Getenv("PLANTLOOM_CACHE")
	if root == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Fatalf("no place for downloads, set PLANTLOOM_CACHE: %v", err)
		}
		root = filepath.Join(user, "plantloom-e2e")
	}
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("creating the cache: %v", err)
	}
	return dir
}

// locked runs fn while nobody else runs it for the same directory: tests of
// several packages run at the same time; one of them installs, the others wait.
func locked(t testing.TB, dir string, fn func()) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // which gives the lock back
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("waiting for another installation in %s: %v", dir, err)
	}
	fn()
}

// once runs install unless an earlier call for the same directory has
// succeeded.
func once(t testing.TB, dir string, install func()) {
	t.Helper()
	locked(t, dir, func() {
		done := filepath.Join(dir, ".done")
		if _, err := os.Stat(done); err == nil {
			return
		}
		install()
		if err := os.WriteFile(done, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("installed %s", dir)
	})
}

// run runs a command to its end and returns what it printed on standard
// output; its failure is the test's.
func run(t testing.TB, limit time.Duration, dir string, argv ...string) string {
	t.Helper()
	out, err := try(t.Context(), limit, dir, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try runs a command to its end. The error carries what it printed last.
func try(ctx context.Context, limit time.Duration, dir string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(errs.String() + "\n" + out.String())
		return out.String(), fmt.Errorf("running %s: %w\n%s", strings.Join(argv, " "), err, said[max(0, len(said)-4000):])
	}
	return out.String(), nil
}

// apt makes sure that a program is there; pkgs are the Debian packages that
// bring it.
func apt(t testing.TB, program string, pkgs ...string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if os.Getuid() != 0 {
		t.Fatalf("%s is needed: apt-get install %s", program, strings.Join(pkgs, " "))
	}
	locked(t, cacheDir(t, "apt"), func() {
		if _, err := exec.LookPath(program); err == nil {
			return
		}
		env := []string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"}
		install := append(append(env, "install", "--no-install-recommends"), pkgs...)
		if _, err := try(t.Context(), installLimit, "", install...); err != nil {
			// The package list may be older than the archive.
			run(t, installLimit, "", append(env, "update")...)
			run(t, installLimit, "", install...)
		}
	})
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not there after apt-get install %s", program, strings.Join(pkgs, " "))
	}
	return path
}

// FreePort returns a loopback port on which nothing listens. It lies below the
// ports that Linux gives to outgoing connections: nobody takes it while its
// server is down, and a client that dials it then never meets itself.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 12000 + rand.IntN(20000)
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no free port between 12000 and 32000")
	return 0
}

// launch starts a server and ends it with the test. What it prints goes to
// tail, which the failure messages show.
func launch(t testing.TB, spec child.Spec) (*child.Process, *tail) {
	t.Helper()
	said := &tail{}
	if spec.Stdout == nil {
		spec.Stdout = said
	}
	spec.Stderr = said
	p, err := child.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(spec.Grace) })
	return p, said
}

// await calls ready until it returns nil, the process dies or the time is up.
func await(t testing.TB, name string, p *child.Process, said *tail, ready func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	for {
		one, stop := context.WithTimeout(ctx, 5*time.Second)
		err := ready(one)
		stop()
		if err == nil {
			return
		}
		select {
		case <-p.Done():
			t.Fatalf("%s: %v; it said:\n%s", name, p.Err(), said)
		case <-ctx.Done():
			t.Fatalf("%s is not ready after %v: %v; it said:\n%s", name, startLimit, err, said)
		case <-time.After(pollEvery):
		}
	}
}

// tail keeps the last 16 KiB of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf, p...)
	if over := len(w.buf) - 16<<10; over > 0 {
		w.buf = append(w.buf[:0], w.buf[over:]...)
	}
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.buf)
}

// lines returns a writer that calls fn for every line written to it, from one
// goroutine, until it is closed.
func lines(fn func(line []byte)) io.WriteCloser {
	r, w := io.Pipe()
	go func() {
		s := bufio.NewScanner(r)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			fn(s.Bytes())
		}
		r.CloseWithError(s.Err())
	}()
	return w
}
