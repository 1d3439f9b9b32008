package crashlab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Lab is one plant under test: its directories, ports and processes.
type Lab struct {
	Bin, Dir   string
	HonourKey  bool
	FaultRate  float64
	Orders     int  // per work centre
	Unsafe     bool // run plantloom in its broken mode
	ports      map[string]int
	config     string
	processes  map[string]*exec.Cmd
	openOutput []*os.File
}

// Targets are what the laboratory kills.
var Targets = []string{"collect", "map", "deliver", "broker", "supervisor"}

// Prepare copies the example and gives every port a free one.
func (l *Lab) Prepare(example string) error {
	l.processes, l.ports = map[string]*exec.Cmd{}, map[string]int{}
	for _, name := range []string{"8480", "8481", "9492", "4841", "8490"} {
		p, err := freePort()
		if err != nil {
			return err
		}
		l.ports[name] = p
	}
	l.config = filepath.Join(l.Dir, "config")
	if err := os.CopyFS(l.config, os.DirFS(example)); err != nil {
		return fmt.Errorf("copying the example: %w", err)
	}
	name := filepath.Join(l.config, "plant.yaml")
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading the example: %w", err)
	}
	text := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).ReplaceAllStringFunc(string(b), func(m string) string {
		if p, ok := l.ports[strings.TrimPrefix(m, "127.0.0.1:")]; ok {
			return "127.0.0.1:" + strconv.Itoa(p)
		}
		return m
	})
	text = strings.Replace(text, "kafka: {embedded: true}", fmt.Sprintf("kafka: {embedded: true, listen: \"127.0.0.1:%d\"}", l.ports["9492"]), 1)
	text = strings.ReplaceAll(text, "historian.sqlite", filepath.Join(l.Dir, "plant", "historian.sqlite"))
	return os.WriteFile(name, []byte(text), 0o600)
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func (l *Lab) start(name string, argv ...string) error {
	out, err := os.OpenFile(filepath.Join(l.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	l.openOutput = append(l.openOutput, out)
	cmd := exec.Command(filepath.Join(l.Bin, argv[0]), argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "PLANTLOOM_DEMO_ERP_PASSWORD=demo")
	if l.Unsafe {
		cmd.Env = append(cmd.Env, "PLANTLOOM_UNSAFE_FOR_CRASH_LABORATORY=1")
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	l.processes[name] = cmd
	return nil
}

// StartPlant starts the simulated plant.
func (l *Lab) StartPlant() error {
	return l.start("plant", "demo-plant", "--listen", l.addr("4841"), "--state", filepath.Join(l.Dir, "plant"),
		"--historian", filepath.Join(l.Dir, "plant", "historian.sqlite"), "--speed", "3")
}

// StartERP starts the simulated ERP.
func (l *Lab) StartERP() error {
	return l.start("erp", "demo-erp", "--listen", l.addr("8490"), "--state", filepath.Join(l.Dir, "erp"),
		"--password-env", "PLANTLOOM_DEMO_ERP_PASSWORD", fmt.Sprintf("--honour-key=%v", l.HonourKey), "--orders", strconv.Itoa(l.Orders),
		"--fault-rate", fmt.Sprint(l.FaultRate), "--fault-hang", "4s", "--max-run", "300ms")
}

// StartPlantloom starts the supervisor with every role in a process of its own.
func (l *Lab) StartPlantloom() error {
	return l.start("plantloom", "plantloom", "run", "--isolate", "--config", l.config, "--state-dir", filepath.Join(l.Dir, "state"))
}

func (l *Lab) addr(port string) string { return fmt.Sprintf("127.0.0.1:%d", l.ports[port]) }

// Stop ends a process in an orderly way; it must be gone within 10 s.
func (l *Lab) Stop(name string) error {
	cmd := l.processes[name]
	if cmd == nil {
		return nil
	}
	delete(l.processes, name)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", name, err)
	}
	late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // its exit code says nothing here
	if !late.Stop() {
		return fmt.Errorf("%s did not stop within 10 s", name)
	}
	return nil
}

// Kill sends SIGKILL to a target; false when it was not running just then.
func (l *Lab) Kill(target string) bool {
	if target == "supervisor" {
		cmd := l.processes["plantloom"]
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return l.StartPlantloom() == nil
	}
	pid := l.find(target)
	return pid > 0 && syscall.Kill(pid, syscall.SIGKILL) == nil
}

// find returns the process of a role of this laboratory, 0 when there is none.
func (l *Lab) find(role string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it ended in the meantime
		}
		args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
		line := strings.Join(args, " ")
		if !strings.Contains(line, l.Dir) || !strings.HasSuffix(args[0], "plantloom") {
			continue
		}
		if role == "broker" && len(args) > 1 && args[1] == "broker" || strings.HasSuffix(line, "--roles "+role) {
			pid, err := strconv.Atoi(strings.Split(f, "/")[2])
			if err == nil {
				return pid
			}
		}
	}
	return 0
}

// Truth reads the plant's ledger.
func (l *Lab) Truth() (*Truth, error) {
	return ReadTruth(filepath.Join(l.Dir, "plant", "ledger.jsonl"))
}

// Books asks the ERP for its ledger.
func (l *Lab) Books(ctx context.Context) (*Books, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.addr("8490")+"/demo/ledger", nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the ERP: %w", err)
	}
	defer res.Body.Close()
	b := &Books{}
	if err := json.NewDecoder(res.Body).Decode(b); err != nil {
		return nil, fmt.Errorf("reading the ERP's ledger: %w", err)
	}
	return b, nil
}

// Close ends everything.
func (l *Lab) Close() {
	for _, name := range []string{"plantloom", "plant", "erp"} {
		_ = l.Stop(name) // the test is over
	}
	for _, f := range l.openOutput {
		f.Close()
	}
}
