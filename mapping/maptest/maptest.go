// Package maptest runs the tests that stand in mapping files, in virtual time, on the real engine.
//
// Each test runs three ways: plain; with the state saved and restored after every record; and with samples arriving in
// other orders within the lateness. What the rules give must be what the test expects, and the same in all ways, ids
// included. The package never touches Kafka, a network or a clock. The command line and tests of examples import it.
package maptest

import (
	"regexp"
	"time"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/mapping"
)

// lateness is how long samples may come out of order in tests; it is the default of a plant.
const lateness = 2 * time.Second

// Options say what to run. The zero value runs everything.
type Options struct {
	Run *regexp.Regexp // tests whose "mapping/test name" it matches; nil: all
}

// Report is the outcome of a run, in the order of the files.
type Report struct {
	Cases []Case
	// Faults are the files' faults; with errors among them nothing was run.
	Faults *conf.Faults
}

// Case is the outcome of one test.
type Case struct {
	Mapping  string
	Name     string
	At       conf.Pos
	Events   int // that the rules gave in the plain way
	Failures []Failure
}

// Failure is one thing that is not as expected.
type Failure struct {
	At      conf.Pos // of the expectation, or of the test
	Way     string   // empty: plain
	Message string   // one line, then perhaps indented lines with the differing fields
}

// Failed returns the number of failed tests.
func (r *Report) Failed() (n int) {
	for _, c := range r.Cases {
		if len(c.Failures) > 0 {
			n++
		}
	}
	return n
}

// OK says whether the files have no errors and no test failed.
func (r *Report) OK() bool { return !r.Faults.HasErrors() && r.Failed() == 0 }

// Run checks the mapping files at the paths, and runs their tests. A path is a file, a directory, or dir/... for all
// directories below dir.
func Run(paths []string, o Options) *Report {
	r := &Report{Faults: &conf.Faults{}}
	expanded, err := mapping.Expand(paths)
	if err != nil {
		r.Faults.Add(conf.Pos{}, conf.CodeUnreadable, err.Error(), conf.Hint("check the path"))
		return r
	}
	var sets []*mapping.Set
	for _, p := range expanded {
		sets = append(sets, mapping.LintPath(p, nil, r.Faults))
	}
	if r.Faults.HasErrors() {
		return r
	}
	for _, s := range sets {
		r.Cases = append(r.Cases, RunSet(s, o)...)
	}
	return r
}

// RunSet runs the tests of a set that has no faults.
func RunSet(s *mapping.Set, o Options) (cases []Case) {
	for _, m := range s.Mappings {
		for i := range m.Tests {
			t := &m.Tests[i]
			if o.Run == nil || o.Run.MatchString(m.Name+"/"+t.Name) {
				cases = append(cases, runTest(m, t))
			}
		}
	}
	return cases
}

// way is one of the ways in which a test runs.
type way struct {
	name    string
	restart bool   // after every record
	seed    uint64 // of the arrival order; 0: as the file says
}

func ways() []way {
	return []way{
		{name: "plain"},
		{name: "restart after every record", restart: true},
		{name: "other arrival order", seed: 1},
		{name: "another arrival order", seed: 2},
		{name: "a third arrival order, with restarts", seed: 3, restart: true},
	}
}

func runTest(m *mapping.Mapping, t *mapping.Test) Case {
	c := Case{Mapping: m.Name, Name: t.Name, At: t.At}
	var plain *run
	for _, w := range ways() {
		r, err := play(m, t, w)
		if err != nil {
			c.Failures = append(c.Failures, Failure{At: t.At, Way: w.name, Message: err.Error()})
			return c
		}
		if plain == nil {
			plain = r
			c.Events = len(r.seen)
			c.Failures = compare(t, r)
			continue
		}
		c.Failures = append(c.Failures, differences(t, w, plain, r)...)
	}
	return c
}
