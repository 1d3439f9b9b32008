package pipelinetest

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// probe is a testing.TB that notes failures instead of reporting them, so that a
// suite can be run on what is wrong on purpose.
type probe struct {
	testing.TB
	mu       sync.Mutex
	messages []string
	cleanups []func()
}

func (p *probe) note(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, message)
}

func (p *probe) Helper()                      {}
func (p *probe) Error(args ...any)            { p.note(fmt.Sprint(args...)) }
func (p *probe) Errorf(f string, a ...any)    { p.note(fmt.Sprintf(f, a...)) }
func (p *probe) Fatal(args ...any)            { p.Error(args...); runtime.Goexit() }
func (p *probe) Fatalf(f string, args ...any) { p.Errorf(f, args...); runtime.Goexit() }
func (p *probe) Cleanup(f func())             { p.cleanups = append(p.cleanups, f) }

// run runs a check to its end, cleanups included, and returns what it reported.
func run[F any](tb testing.TB, c check[F], f F) []string {
	p := &probe{TB: tb}
	for _, part := range []func(){
		func() { c.run(p, f) },
		func() {
			for i := len(p.cleanups) - 1; i >= 0; i-- {
				p.cleanups[i]()
			}
		},
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			part()
		}()
		<-done
	}
	return p.messages
}

// named returns the check of a suite with a name.
func named[F any](t *testing.T, checks []check[F], name string) check[F] {
	t.Helper()
	for _, c := range checks {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no check is named %q", name)
	return check[F]{}
}

// anyFails says whether a check of a suite fails.
func anyFails[F any](tb testing.TB, checks []check[F], f F) bool {
	for _, c := range checks {
		if len(run(tb, c, f)) > 0 {
			return true
		}
	}
	return false
}
