// Command plant is the DEMO plant: a simulated bottling plant with an OPC UA
// server, a historian for its oldest line and a ledger of the truth, for trying
// and testing Plantloom.
//
// It stands outside of the product: nothing of it is linked into plantloom, and
// it imports nothing of plantloom but the OPC UA test server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/plantloom/plantloom/examples/demo/plant/internal/plant"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// options are the flags.
type options struct {
	listen, state     string
	historian, driver string
	lines             int
	seed              uint64
	speed             float64
	history           time.Duration
	stdinGuard        bool
	verbose           bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("plant (DEMO)", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.listen, "listen", "127.0.0.1:4841", "`address` of the OPC UA server")
	fs.StringVar(&o.state, "state", "", "state `directory` (required)")
	fs.StringVar(&o.historian, "historian", "", "where line L9 writes its tag history: a SQLite `file`, or a connection string for postgres; default STATE/historian.sqlite")
	fs.StringVar(&o.driver, "historian-driver", "sqlite", "sqlite, postgres, or none for a plant without L9")
	fs.IntVar(&o.lines, "lines", 3, "`number` of lines on OPC UA: L1, L2, ...")
	fs.Uint64Var(&o.seed, "seed", 1, "`seed` of chance")
	fs.Float64Var(&o.speed, "speed", 1, "pace, 0.1 to 200; at 1 an order takes 40 to 50 s")
	fs.DurationVar(&o.history, "history", 3*time.Hour, "how long HistoryRead and the journal reach back")
	fs.BoolVar(&o.stdinGuard, "stdin-guard", false, "end when standard input closes")
	fs.BoolVar(&o.verbose, "v", false, "log connections and subscriptions")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case o.state == "":
		return o, errors.New("--state is missing: name the directory that keeps the plant's state and ledger")
	case o.lines < 1 || o.lines > 8:
		return o, fmt.Errorf("--lines %d: use 1 to 8 (L9 is the historian's line)", o.lines)
	case o.driver == "none" && o.historian != "":
		return o, errors.New("--historian has no meaning with --historian-driver none")
	case o.driver == "postgres" && o.historian == "":
		return o, errors.New("--historian is missing: with --historian-driver postgres it is the connection string")
	}
	if o.historian == "" && o.driver == "sqlite" {
		o.historian = filepath.Join(o.state, "historian.sqlite")
	}
	return o, nil
}

// run is main with its surroundings passed in; it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "demo plant: %v\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.stdinGuard {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, _ = io.Copy(io.Discard, stdin)
			cancel()
		}()
	}
	if err := serve(ctx, o, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "demo plant: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, o options, stdout, stderr io.Writer) error {
	// The OPC UA library tells the standard logger how it reads its tables.
	log.SetOutput(io.Discard)
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelInfo
	}
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})).With("demo", "plant")
	p, err := plant.Open(plant.Config{
		Dir: o.state, Listen: o.listen, Lines: o.lines, Seed: o.seed, Speed: o.speed, History: o.history,
		HistorianDriver: o.driver, Historian: o.historian,
		Now: time.Now, Log: logger, Out: stdout, LibraryNodes: true,
	})
	if err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return errors.Join(err, p.Close())
	}
	banner(stdout, o, p)
	err = p.Run(ctx)
	fmt.Fprintln(stdout, "DEMO plant stopped; its state is kept in", o.state)
	return err
}

// banner says where to look. Connection strings can hold passwords and are not
// printed.
func banner(w io.Writer, o options, p *plant.Plant) {
	fmt.Fprintln(w, "DEMO plant: simulated bottling lines, no real machines")
	fmt.Fprintf(w, "  OPC UA     %s  nodes nsu=%s;s=L1.State ... (L1 to L%d)\n", p.Addr(), plant.NamespaceURI, o.lines)
	switch o.driver {
	case "sqlite":
		fmt.Fprintf(w, "  historian  %s  bottling/l9/* (SQLite, Ignition's tables)\n", o.historian)
	case "postgres":
		fmt.Fprintln(w, "  historian  PostgreSQL  bottling/l9/* (Ignition's tables)")
	}
	fmt.Fprintf(w, "  truth      %s\n", filepath.Join(o.state, plant.LedgerFile))
}
