// Command erp is the DEMO ERP of Plantloom's examples: it releases orders,
// takes confirmations and inspection results, and keeps an fsynced ledger of
// every request and effect. It can be slow, fail, or commit and then keep
// silent. It is no real ERP and never part of plantloom.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/plantloom/plantloom/examples/demo/erp/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo erp:", err)
		stop()
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	sim.Config
	listen, passwordEnv, passwordFile string
	honourKey, stdinGuard             bool
	kinds                             string
}

// parse reads the flags; err says what is wrong with them.
func parse(args []string, out io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("erp", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&o.listen, "listen", "127.0.0.1:8490", "loopback `address` to serve on; port 0 takes a free one")
	fs.StringVar(&o.Dir, "state", "", "`directory` of the journal, which is state and ledger (required)")
	fs.StringVar(&o.User, "user", "plantloom", "user `name` of HTTP basic authentication")
	fs.StringVar(&o.passwordEnv, "password-env", "", "`name` of the environment variable with the password")
	fs.StringVar(&o.passwordFile, "password-file", "", "`file` with the password; a line end is cut off")
	fs.BoolVar(&o.honourKey, "honour-key", true, "answer a repeated key from store; false books again, as a naive ERP does")
	fs.DurationVar(&o.MinRun, "min-run", 0, "shortest time the ERP works on a posting")
	fs.DurationVar(&o.MaxRun, "max-run", 0, "longest time the ERP works on a posting")
	fs.IntVar(&o.Target, "target", 40, "quantity per order")
	fs.IntVar(&o.Open, "open", 2, "open orders per work centre")
	fs.IntVar(&o.Orders, "orders", 0, "release at most so many orders per work centre; 0 is endless")
	fs.Float64Var(&o.Faults.Rate, "fault-rate", 0, "share of requests that go wrong, 0 to 1")
	fs.Uint64Var(&o.Faults.Seed, "fault-seed", 1, "seed of the faults")
	fs.StringVar(&o.kinds, "fault-kinds", "", "comma-separated faults to draw from; unavailable,slow,commit_drop,commit_hang when empty")
	fs.DurationVar(&o.Faults.Slow, "fault-slow", 0, "delay of a slow answer; 0 is 300ms")
	fs.DurationVar(&o.Faults.Hang, "fault-hang", 0, "how long a hung request stays open; 0 is 1m")
	fs.BoolVar(&o.stdinGuard, "stdin-guard", false, "end when standard input closes, so that no orphan holds the port")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.kinds != "" {
		o.Faults.Kinds = strings.Split(o.kinds, ",")
	}
	o.IgnoreKey = !o.honourKey
	o.Now = time.Now
	if o.Target < 1 || o.Open < 1 || o.Orders < 0 || o.MinRun < 0 || o.MaxRun < 0 {
		return o, errors.New("--target and --open must be at least 1; --orders, --min-run and --max-run must not be negative")
	}
	return o, o.readPassword()
}

// readPassword takes the password from exactly one place, never from a flag:
// flags show in the process list.
func (o *options) readPassword() error {
	switch {
	case o.passwordEnv != "" && o.passwordFile != "":
		return errors.New("give --password-env or --password-file, not both")
	case o.passwordEnv != "":
		o.Password = os.Getenv(o.passwordEnv)
		if o.Password == "" {
			return fmt.Errorf("environment variable %s is empty", o.passwordEnv)
		}
	case o.passwordFile != "":
		text, err := os.ReadFile(o.passwordFile)
		if err != nil {
			return fmt.Errorf("reading the password: %w", err)
		}
		o.Password = strings.TrimRight(string(text), "\r\n")
	}
	return nil
}

// run serves until ctx ends or, with the guard, standard input closes.
func run(ctx context.Context, args []string, stdin io.Reader, out io.Writer) (err error) {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	if err := onLoopback(o.listen); err != nil {
		return err
	}
	erp, err := sim.New(o.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, erp.Close()) }()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", o.listen, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.stdinGuard {
		// Ends with the process at the latest: a read cannot be cancelled.
		go func() {
			_, _ = io.Copy(io.Discard, stdin)
			cancel()
		}()
	}
	banner(out, o, erp, listener.Addr())
	return serve(ctx, listener, erp)
}

// serve ends within about a second of ctx: requests that hang are cut.
func serve(ctx context.Context, listener net.Listener, erp *sim.ERP) error {
	server := &http.Server{Handler: erp.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close() // what still runs has not been answered
	}
	<-failed
	return nil
}

// onLoopback refuses any other address: the demo pages have no password.
func onLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("reading --listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("--listen %s: the demo ERP serves on loopback only, such as 127.0.0.1:8490", address)
}

func banner(out io.Writer, o options, erp *sim.ERP, addr net.Addr) {
	key := "honoured"
	if o.IgnoreKey {
		key = "IGNORED (a repeated posting books twice)"
	}
	fmt.Fprintf(out, "DEMO ERP (simulated, not a real system) on http://%s\n", addr)
	fmt.Fprintf(out, "  ledger   http://%s/demo/ledger   file %s\n", addr, filepath.Join(o.Dir, "ledger.jsonl"))
	fmt.Fprintf(out, "  faults   http://%s/demo/faults   rate %v seed %d; idempotency key %s\n", addr, o.Faults.Rate, o.Faults.Seed, key)
	fmt.Fprintf(out, "  state    %s\n", erp.Summary())
	if cut := erp.CutBytes(); cut > 0 {
		fmt.Fprintf(out, "  note     cut %d bytes of a record that was never answered\n", cut)
	}
}
