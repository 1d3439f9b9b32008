// Command up runs the demo: the simulated plant, the simulated ERP and the real plantloom between them, each a process
// of its own. It is a convenience for `make run`; nothing imports it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plantloom/plantloom/internal/child"
)

// Ports of the demo before they are shifted.
const (
	portREST, portGRPC, portKafka = 8480, 8481, 9492
	portPlant, portERP            = 4841, 8490
)

type demo struct {
	bin, example, dir string
	offset            int
	log               *slog.Logger
}

func main() {
	d := &demo{}
	flag.StringVar(&d.bin, "bin", "bin", "directory of the programs plantloom, demo-plant and demo-erp")
	flag.StringVar(&d.example, "example", "examples/bottling-line", "plant directory")
	flag.StringVar(&d.dir, "dir", "var/bottling-line", "directory for state and logs")
	flag.IntVar(&d.offset, "port-offset", 0, "added to every port")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func (d *demo) run(ctx context.Context) error {
	for _, sub := range []string{"log", "plant", "erp", "state"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o755); err != nil {
			return fmt.Errorf("making %s: %w", d.dir, err)
		}
	}
	log, err := os.OpenFile(filepath.Join(d.dir, "log", "demo.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	defer log.Close()
	d.log = slog.New(slog.NewTextHandler(log, nil))
	config, err := d.shiftedConfig()
	if err != nil {
		return err
	}
	if err := os.Setenv("PLANTLOOM_DEMO_ERP_PASSWORD", "demo"); err != nil {
		return fmt.Errorf("setting the demo's password: %w", err)
	}
	// The plant and the ERP outlive plantloom, so that what it finishes while it stops still has its effect.
	outer, stopOuter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopOuter()
	var g errgroup.Group
	g.Go(func() error { return d.child(outer, "plant", d.plantArgs()...) })
	g.Go(func() error { return d.child(outer, "erp", d.erpArgs()...) })
	g.Go(func() error {
		defer stopOuter()
		return d.child(ctx, "plantloom", filepath.Join(d.bin, "plantloom"), "run", "--config", config, "--state-dir", filepath.Join(d.dir, "state"))
	})
	g.Go(func() error { return d.guide(ctx) })
	err = g.Wait()
	fmt.Println("\ndemo: everything has stopped; `make run` goes on where it stopped, `make reset` forgets.")
	return err
}

func (d *demo) port(p int) int { return p + d.offset }

func (d *demo) plantArgs() []string {
	return []string{
		filepath.Join(d.bin, "demo-plant"), "--listen", fmt.Sprintf("127.0.0.1:%d", d.port(portPlant)),
		"--state", filepath.Join(d.dir, "plant"), "--historian", filepath.Join(d.dir, "plant", "historian.sqlite"),
	}
}

func (d *demo) erpArgs() []string {
	return []string{
		filepath.Join(d.bin, "demo-erp"), "--listen", fmt.Sprintf("127.0.0.1:%d", d.port(portERP)),
		"--state", filepath.Join(d.dir, "erp"), "--password-env", "PLANTLOOM_DEMO_ERP_PASSWORD",
	}
}

// child runs one program until ctx ends, with its output in a file of its own.
func (d *demo) child(ctx context.Context, name string, argv ...string) error {
	out, err := os.OpenFile(filepath.Join(d.dir, "log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer out.Close()
	said := false
	return child.Supervise(ctx, child.Spec{Name: name, Argv: argv, Stdout: out, Stderr: out, Grace: 8 * time.Second}, d.log, func(s child.State) {
		if s.Phase == child.Down && ctx.Err() == nil {
			fmt.Printf("demo: %s ended (%v), starting it again; see %s\n", name, s.Err, out.Name())
			said = true
		} else if s.Phase == child.Ready && said {
			fmt.Printf("demo: %s runs again\n", name)
		}
	})
}

var portPattern = regexp.MustCompile(`\b(127\.0\.0\.1|localhost):(\d{4,5})\b`)

// shiftedConfig copies the example below dir, with every loopback port shifted and the historian's file put in place.
func (d *demo) shiftedConfig() (string, error) {
	to := filepath.Join(d.dir, "config")
	if err := os.RemoveAll(to); err != nil {
		return "", fmt.Errorf("clearing the copy of the plant directory: %w", err)
	}
	if err := os.CopyFS(to, os.DirFS(d.example)); err != nil {
		return "", fmt.Errorf("copying %s: %w", d.example, err)
	}
	name := filepath.Join(to, "plant.yaml")
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("reading the copy of plant.yaml: %w", err)
	}
	text := portPattern.ReplaceAllStringFunc(string(b), func(m string) string {
		host, port, _ := strings.Cut(m, ":")
		n, _ := strconv.Atoi(port) // digits by the pattern
		return fmt.Sprintf("%s:%d", host, n+d.offset)
	})
	if !strings.Contains(text, "\nkafka:") {
		return "", fmt.Errorf("%s has no kafka section", name)
	}
	text = strings.Replace(text, "kafka: {embedded: true}", fmt.Sprintf("kafka: {embedded: true, listen: \"127.0.0.1:%d\"}", d.port(portKafka)), 1)
	historian, err := filepath.Abs(filepath.Join(d.dir, "plant", "historian.sqlite"))
	if err != nil {
		return "", fmt.Errorf("finding the historian's file: %w", err)
	}
	text = strings.ReplaceAll(text, "historian.sqlite", historian)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("writing the copy of plant.yaml: %w", err)
	}
	return to, nil
}
