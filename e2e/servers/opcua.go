package servers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/plantloom/plantloom/e2e/node"
	"github.com/plantloom/plantloom/internal/child"
)

// OPCUAOptions set up the line of a node-opcua server; the zero value of a
// field takes the default.
type OPCUAOptions struct {
	Line       string       `json:"line,omitempty"`       // L1
	User       string       `json:"user,omitempty"`       // plantloom
	Password   string       `json:"password,omitempty"`   // plantloom
	Anonymous  bool         `json:"anonymous,omitempty"`  // accepts sessions without a user
	Insecure   bool         `json:"insecure,omitempty"`   // offers policy None beside Basic256Sha256
	Rate       float64      `json:"rate,omitempty"`       // bottles per second; 10
	ScrapEvery int          `json:"scrapEvery,omitempty"` // every n-th bottle is scrap; 10
	CapEvery   int          `json:"capEvery,omitempty"`   // bottles between two capping results; 15
	Orders     []OPCUAOrder `json:"orders,omitempty"`     // worked off without a download
}

// OPCUAOrder is an order as the line's download block takes it.
type OPCUAOrder struct {
	No        string `json:"no"`
	Operation string `json:"operation"`
	Target    int    `json:"target"` // good bottles
}

// Truth is one thing that really happened on the line. Events are
// order_started, order_done, order_acked, download and result.
type Truth struct {
	Event     string    `json:"event"`
	Line      string    `json:"line"`
	Order     string    `json:"order"`
	Operation string    `json:"operation"`
	Target    int       `json:"target"`
	Good      int       `json:"good"`    // order_done
	Scrap     int       `json:"scrap"`   // order_done
	From      time.Time `json:"from"`    // order_done: the start of the order
	At        time.Time `json:"at"`      // source time of the change that shows it
	Outcome   string    `json:"outcome"` // download: loaded, again or refused
	ErrNo     int       `json:"errno"`   // download
	Serial    string    `json:"serial"`  // result
	Torque    float64   `json:"torque"`  // result, [lbf_av].[in_i]; 0 when bad
	Quality   string    `json:"quality"` // result: good or bad
}

// OPCUAServer is a node-opcua server with the tags of one bottling line.
type OPCUAServer struct {
	Endpoint    string // opc.tcp://127.0.0.1:port
	Certificate string // file with the server's certificate, PEM

	t    testing.TB
	opts OPCUAOptions
	port int
	dir  string
	proc *child.Process

	mu      sync.Mutex
	truth   []Truth
	changed chan struct{} // closed and replaced for every new truth
}

// NodeOPCUA installs node-opcua and starts a server. It offers policy
// Basic256Sha256 in mode SignAndEncrypt with user name and password, and takes
// any client certificate.
func NodeOPCUA(t testing.TB, opts OPCUAOptions) *OPCUAServer {
	t.Helper()
	s := &OPCUAServer{t: t, opts: opts, port: FreePort(t), dir: t.TempDir(), changed: make(chan struct{})}
	s.start()
	return s
}

// start runs the server on its port and waits until it says that it is ready.
func (s *OPCUAServer) start() {
	s.t.Helper()
	args, err := json.Marshal(struct {
		OPCUAOptions
		Port int    `json:"port"`
		Dir  string `json:"dir"`
	}{s.opts, s.port, s.dir})
	if err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan struct{})
	once := sync.OnceFunc(func() { close(ready) })
	out := lines(func(line []byte) { s.take(line, once) })
	s.t.Cleanup(func() { out.Close() })
	proc, said := launch(s.t, child.Spec{
		Name: "node-opcua", Dir: s.dir, Grace: 5 * time.Second, Stdout: out,
		Argv: []string{apt(s.t, "node", "nodejs"), nodeProgram(s.t, "server.js"), string(args)},
	})
	s.proc = proc
	await(s.t, "node-opcua", proc, said, func(ctx context.Context) error {
		select {
		case <-ready:
			return nil
		case <-proc.Done():
			return proc.Err()
		case <-ctx.Done():
			return errors.New("it has not said so")
		}
	})
}

// take reads one line of the server's output.
func (s *OPCUAServer) take(line []byte, ready func()) {
	var r struct {
		Truth
		Endpoint    string `json:"endpoint"`
		Certificate string `json:"certificate"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return // node-opcua prints advice of its own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Event == "ready" {
		s.Endpoint, s.Certificate = r.Endpoint, r.Certificate
		ready()
		return
	}
	s.truth = append(s.truth, r.Truth)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Truth returns what has happened on the line so far, in order.
func (s *OPCUAServer) Truth() []Truth {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.truth)
}

// Await returns the first truth for which ok holds, once there is one; it
// fails the test when there is none within limit.
func (s *OPCUAServer) Await(limit time.Duration, what string, ok func(Truth) bool) Truth {
	s.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		s.mu.Lock()
		i, changed := slices.IndexFunc(s.truth, ok), s.changed
		var found Truth
		if i >= 0 {
			found = s.truth[i]
		}
		s.mu.Unlock()
		if i >= 0 {
			return found
		}
		select {
		case <-changed:
		case <-s.proc.Done():
			s.t.Fatalf("waiting for %s: %v", what, s.proc.Err())
		case <-timer.C:
			s.t.Fatalf("waited %v for %s; so far: %+v", limit, what, s.Truth())
		}
	}
}

// Stop ends the server in an orderly way; the line's state is lost.
func (s *OPCUAServer) Stop() { s.proc.Stop(5 * time.Second) }

// Kill ends the server with SIGKILL.
func (s *OPCUAServer) Kill() { s.proc.Kill() }

// Restart starts a stopped or killed server again on the same address, with
// the same certificate and a line that begins anew.
func (s *OPCUAServer) Restart() {
	s.t.Helper()
	s.start()
}

// nodeProgram installs the packages of e2e/node and returns the path of one of
// its programs.
func nodeProgram(t testing.TB, name string) string {
	t.Helper()
	apt(t, "node", "nodejs")
	dir := nodePackages(t)
	// The programs stand below node_modules in a directory of their own
	// version: a test that runs at the same time may have another.
	sum := sha256.New()
	files := map[string][]byte{}
	names, err := fs.Glob(node.Files, "*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		text, err := node.Files.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		files[n] = text
		fmt.Fprintf(sum, "%s %d\n%s", n, len(text), text)
	}
	programs := filepath.Join(dir, "programs-"+hex.EncodeToString(sum.Sum(nil))[:12])
	if err := os.MkdirAll(programs, 0o755); err != nil {
		t.Fatal(err)
	}
	once(t, programs, func() {
		for n, text := range files {
			if err := os.WriteFile(filepath.Join(programs, n), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
	return filepath.Join(programs, name)
}

// nodePackages installs what package-lock.json names, by "npm ci", and returns
// the directory.
func nodePackages(t testing.TB) string {
	t.Helper()
	lock, err := node.Files.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	dir := cacheDir(t, "node-"+hex.EncodeToString(sum[:])[:12])
	once(t, dir, func() {
		for _, name := range []string{"package.json", "package-lock.json"} {
			text, err := node.Files.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		run(t, installLimit, dir, apt(t, "npm", "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	})
	return dir
}
