// Command bench measures samples on their way through collect, Kafka, map and Kafka again, and each stage of that way,
// and writes docs/performance.md.
//
// It says what this machine did with this version; it holds nothing to a goal, and no test looks at its times. It
// starts the embedded broker and the roles as child processes of its own in a new directory and removes them. It
// imports what plantloom consists of; nothing imports it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 3 && os.Args[1] == roleFlag {
		err = serve(ctx, os.Args[2], newParent(os.Stdin, os.Stdout), time.Now)
	} else {
		err = bench(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted; nothing was written")
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// bench measures and writes the page, to standard output unless -write names a file.
func bench(ctx context.Context, args []string, out, progress io.Writer) error {
	initBenchmarks()
	o, write, err := parse(args, progress)
	if err != nil {
		return err
	}
	r, err := measureAll(ctx, o, time.Now, progress)
	if err != nil {
		return err
	}
	if write == "" {
		_, err = io.WriteString(out, page(r))
		return err
	}
	if err := os.WriteFile(write, []byte(page(r)), 0o644); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// parse reads the flags.
func parse(args []string, out io.Writer) (o options, write string, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&write, "write", "", "`file` to write the page to; standard output when empty")
	fs.StringVar(&o.Plant, "plant", "examples/bottling-line", "`directory` of the bottling line's mapping")
	fs.StringVar(&o.Dir, "dir", os.TempDir(), "`directory` on the disk that the brokers write to")
	fs.IntVar(&o.Samples, "samples", 2_000_000, "samples of an end-to-end run")
	fs.IntVar(&o.Machines, "machines", 40, "machines that they come from")
	fs.IntVar(&o.Batch, "batch", 500, "samples that the source emits at once")
	fs.IntVar(&o.Partitions, "partitions", 4, "partitions of inbox, state and event topics")
	fs.IntVar(&o.CursorBytes, "cursor", 4096, "size of the cursor that the source saves with each batch, in `bytes`")
	fs.IntVar(&o.Runs, "runs", 3, "runs of everything; figures are medians")
	fs.IntVar(&o.Corpus, "corpus", 200_000, "samples that the stages work on")
	fs.DurationVar(&o.BenchTime, "benchtime", time.Second, "how long a stage is measured per run")
	if err := fs.Parse(args); err != nil {
		return o, "", err
	}
	if o.Samples < 1 || o.Machines < 1 || o.Machines > 999 || o.Batch < 1 || o.Partitions < 1 || o.CursorBytes < 1 || o.Runs < 1 || o.Corpus < 1 {
		return o, "", errors.New("samples, machines (up to 999), batch, partitions, cursor, runs and corpus must be 1 at least")
	}
	o.Command = strings.TrimSpace("go run ./examples/bench " + strings.Join(args, " "))
	return o, write, nil
}
