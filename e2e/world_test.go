//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plantloom/plantloom/e2e/servers"
	"github.com/plantloom/plantloom/internal/child"
)

var (
	bin     = flag.String("bin", "../bin", "directory of the programs plantloom, demo-plant and demo-erp")
	example = flag.String("example", "../examples/bottling-line", "plant directory that the tests copy")
	picture = flag.String("screenshot", "", "file to which TestConsole writes a picture of the console (PNG)")
)

const (
	passwordEnv = "PLANTLOOM_DEMO_ERP_PASSWORD"
	password    = "demo"
	stopLimit   = 10 * time.Second // plantloom promises to stop within it
)

// world is one plant under test with its machines, its ERP and its plantloom processes. Everything lies in one
// temporary directory, listens on loopback and ends with the test.
type world struct {
	t             *testing.T
	dir           string // logs, and the directories of all programs
	config, state string // of plantloom
	ports         ports
	historian     []string // flags of demo-plant
	procs         map[string]*child.Process
}

type ports struct{ http, grpc, kafka, plant, erp int }

// newWorld copies the example and adapts the copy by edits; nothing is started yet.
func newWorld(t *testing.T, edits ...edit) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), procs: map[string]*child.Process{}}
	w.config, w.state = filepath.Join(w.dir, "config"), filepath.Join(w.dir, "state")
	for _, p := range []*int{&w.ports.http, &w.ports.grpc, &w.ports.kafka, &w.ports.plant, &w.ports.erp} {
		*p = servers.FreePort(t)
	}
	if err := os.MkdirAll(w.path("plant"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(w.config, os.DirFS(*example)); err != nil {
		t.Fatal(err)
	}
	for _, e := range append([]edit{freePorts, ownHistorian}, edits...) {
		e(w)
	}
	t.Cleanup(w.end)
	return w
}

// end stops everything, plantloom first so that what it finishes while it stops still has its effect, and shows the
// ends of the logs when the test has failed.
func (w *world) end() {
	for name := range w.procs {
		if name != "plant" && name != "erp" {
			w.stop(name)
		}
	}
	for name := range w.procs {
		w.stop(name)
	}
	if !w.t.Failed() {
		return
	}
	logs, err := filepath.Glob(w.path("*.log"))
	if err != nil {
		w.t.Error(err)
	}
	for _, name := range logs {
		text := w.log(strings.TrimSuffix(filepath.Base(name), ".log"))
		w.t.Logf("--- end of %s\n%s", filepath.Base(name), text[max(0, len(text)-5000):])
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// start runs one of the built programs under a name of its own. What it prints goes to NAME.log.
func (w *world) start(name string, env []string, argv ...string) {
	w.t.Helper()
	out, err := os.OpenFile(w.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	argv[0] = program(w.t, argv[0])
	p, err := child.Start(child.Spec{Name: name, Argv: argv, Env: env, Stdout: out, Stderr: out})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := out.Close(); err != nil { // the process has its own copy
		w.t.Fatal(err)
	}
	w.procs[name] = p
}

// program returns the path of a built program.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(*bin, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; make build makes it", err)
	}
	return path
}

// stop ends a process in an orderly way; to need longer than promised is a failure.
func (w *world) stop(name string) {
	w.t.Helper()
	p := w.procs[name]
	if p == nil {
		return
	}
	delete(w.procs, name)
	if !p.Stop(stopLimit) {
		w.t.Errorf("%s did not stop within %v and was killed", name, stopLimit)
	}
}

// kill ends a process with SIGKILL.
func (w *world) kill(name string) {
	w.t.Helper()
	w.procs[name].Kill()
	delete(w.procs, name)
}

// log returns what a process has printed.
func (w *world) log(name string) string {
	w.t.Helper()
	text, err := os.ReadFile(w.path(name + ".log"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// startPlant starts the simulated plant; at speed 1 an order takes 40 to 50 s.
func (w *world) startPlant(speed float64) {
	w.t.Helper()
	w.start("plant", nil, append([]string{
		"demo-plant", "--listen", addr(w.ports.plant), "--state", w.path("plant"), "--speed", fmt.Sprint(speed),
	}, w.historian...)...)
}

// startERP starts the simulated ERP, which asks for the given password and releases so many orders for each line.
func (w *world) startERP(password string, orders int) {
	w.t.Helper()
	w.start("erp", []string{passwordEnv + "=" + password},
		"demo-erp", "--listen", addr(w.ports.erp), "--state", w.path("erp"), "--password-env", passwordEnv, "--orders", fmt.Sprint(orders))
}

// startPlantloom starts plantloom with all roles, or with those that are named.
func (w *world) startPlantloom(roles ...string) {
	w.t.Helper()
	name, argv := "plantloom", []string{"plantloom", "run", "--config", w.config, "--state-dir", w.state}
	if len(roles) > 0 {
		name += "-" + strings.Join(roles, "+")
		argv = append(argv, "--roles", strings.Join(roles, ","))
	}
	w.start(name, []string{passwordEnv + "=" + password}, argv...)
}

// startAll starts plant, ERP and plantloom and waits until plantloom is ready.
func (w *world) startAll(speed float64, orders int) {
	w.t.Helper()
	w.startERP(password, orders)
	w.startPlant(speed)
	w.startPlantloom()
	w.awaitReady(30 * time.Second)
}

// refuse runs plantloom with a command line that it must refuse, and returns what it printed.
func refuse(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "plantloom"), args...)
	cmd.Env = append(os.Environ(), passwordEnv+"="+password)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("plantloom %s ended with code %d (%v), want 1; it printed:\n%s", strings.Join(args, " "), code, err, out)
	}
	return string(out)
}

// until waits until ok holds. ok returns what is still missing; "" ends the wait.
func until(t *testing.T, limit time.Duration, what string, ok func() (missing string)) {
	t.Helper()
	began := time.Now()
	for {
		missing := ok()
		if missing == "" {
			t.Logf("%s: after %.1f s", what, time.Since(began).Seconds())
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("waited %v for this: %s; at the end: %s", limit, what, missing)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// contains fails the test unless text has every part.
func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%s", what, part, text)
		}
	}
}
