package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"testing"
	"time"
)

// options say what is measured.
type options struct {
	workload
	Runs      int
	Corpus    int // samples of the stages
	BenchTime time.Duration
	Dir       string
	Command   string
}

// results are everything that the page shows.
type results struct {
	Options  options
	Host     host
	Stages   []measured
	Ways     []measured // the mapping by the engine, by hand, with expr's virtual machine
	Formulas []measured
	Arms     []measuredArm
	Truth    truth
	Events   int // of the corpus
	CorpusOf int // its samples
	PerStep  int // samples that its steps cover: as end to end with the first arm
	Took     time.Duration
}

// measured is a stage with its figures, one per run.
type measured struct {
	stage
	Figures []figure
}

type measuredArm struct {
	arm
	Runs []run
}

// measureAll makes every measurement; progress says what is under way.
func measureAll(ctx context.Context, o options, now func() time.Time, progress io.Writer) (r results, err error) {
	began := now()
	r.Options = o
	if r.Host, err = describe(ctx, o.Dir, now); err != nil {
		return r, err
	}
	if err := flag.Set("test.benchtime", o.BenchTime.String()); err != nil {
		return r, fmt.Errorf("setting the time of a benchmark: %w", err)
	}
	// The end-to-end runs come first: this process is small then, and idle.
	if r.Truth, err = expect(o.workload); err != nil {
		return r, err
	}
	if err := r.endToEnd(ctx, now, progress); err != nil {
		return r, err
	}
	if err := r.stages(ctx, now, progress); err != nil {
		return r, err
	}
	r.Took = now().Sub(began)
	return r, nil
}

// endToEnd makes the runs of all arms in turn, so that a change of the machine meets them all; one run before them
// warms the disk's and the system's caches and does not count.
func (r *results) endToEnd(ctx context.Context, now func() time.Time, progress io.Writer) error {
	o := r.Options
	for _, a := range arms() {
		r.Arms = append(r.Arms, measuredArm{arm: a})
	}
	fmt.Fprintf(progress, "end to end: warming up\n")
	if _, err := runArm(ctx, r.Arms[0].arm, o.workload, r.Truth, o.Dir, now); err != nil {
		return err
	}
	for n := range o.Runs {
		for i := range r.Arms {
			a := &r.Arms[(i+n)%len(r.Arms)] // no arm always follows the same one
			fmt.Fprintf(progress, "end to end: run %d of %d, %s\n", n+1, o.Runs, a.Name)
			run, err := runArm(ctx, a.arm, o.workload, r.Truth, o.Dir, now)
			if err != nil {
				return err
			}
			a.Runs = append(a.Runs, run)
		}
	}
	return nil
}

func (r *results) stages(ctx context.Context, now func() time.Time, progress io.Writer) (err error) {
	o := r.Options
	b, err := startBroker(ctx, o.Dir, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	client, err := open(ctx, b.addr, o.Partitions, now)
	if err != nil {
		return err
	}
	defer client.Close()
	r.PerStep = max(1, int(over(r.Arms[0].Runs, run.perStep).Median))
	c, err := newCorpus(o.workload, o.Corpus, r.PerStep, client)
	if err != nil {
		return err
	}
	r.Events, r.CorpusOf = c.events, c.samples
	remote, err := c.remote(ctx, client)
	if err != nil {
		return err
	}
	ways, err := c.comparisons()
	if err != nil {
		return err
	}
	formulas, err := evaluations(c.set)
	if err != nil {
		return err
	}
	r.Stages, r.Ways, r.Formulas = begun(append(c.pure(client), remote...)), begun(ways), begun(formulas)
	for n := range o.Runs {
		for _, group := range [][]measured{r.Stages, r.Ways, r.Formulas} {
			for i := range group {
				fmt.Fprintf(progress, "stages: run %d of %d, %s\n", n+1, o.Runs, group[i].Name)
				f, err := measure(group[i].stage, b.usage)
				if err != nil {
					return err
				}
				group[i].Figures = append(group[i].Figures, f)
			}
		}
	}
	return nil
}

func begun(stages []stage) []measured {
	m := make([]measured, len(stages))
	for i := range stages {
		m[i].stage = stages[i]
	}
	return m
}

// initBenchmarks makes testing.Benchmark usable in a program.
func initBenchmarks() { testing.Init() }
