package child

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// supervise runs spec until until (called for every state) returns true, then
// ends the context and returns all states.
func supervise(t *testing.T, spec Spec, until func(State) bool) []State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var states []State
	err := Supervise(ctx, spec, slog.New(slog.DiscardHandler), func(s State) {
		states = append(states, s)
		if until(s) {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatalf("timed out; states: %+v", states)
	}
	if last := states[len(states)-1]; last.Phase != Stopped || last.Pid != 0 {
		t.Errorf("last state %+v, want stopped", last)
	}
	return states
}

func shell(script string) Spec {
	return Spec{Name: "test", Argv: []string{"sh", "-c", script}}
}

func TestADyingChildIsStartedAgainWithGrowingPauses(t *testing.T) {
	t.Parallel()
	states := supervise(t, shell("exit 3"), func(s State) bool { return s.Phase == Down && s.Restarts == 4 })
	var waits []time.Duration
	var pids []int
	for _, s := range states {
		switch s.Phase {
		case Down:
			waits = append(waits, s.Wait)
			if s.Err == nil || !strings.Contains(s.Err.Error(), "running test: exit status 3") {
				t.Errorf("reason %v, want the exit status", s.Err)
			}
		case Starting:
			pids = append(pids, s.Pid)
		case Ready, Stopped:
		}
	}
	ms := time.Millisecond
	if diff := cmp.Diff([]time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms}, waits); diff != "" {
		t.Errorf("pauses (-want +got):\n%s", diff)
	}
	if slices.Sort(pids); len(slices.Compact(pids)) != 4 || pids[0] == 0 {
		t.Errorf("process ids %v, want 4 different ones", pids)
	}
}

func TestAChildIsReadyWhenItsProbeSaysSo(t *testing.T) {
	t.Parallel()
	asked := 0
	spec := shell("exec cat")
	spec.Ready = func(context.Context) error {
		if asked++; asked < 4 {
			return errors.New("not yet")
		}
		return nil
	}
	states := supervise(t, spec, func(s State) bool { return s.Phase == Ready })
	if asked != 4 || states[0].Phase != Starting || states[1].Phase != Ready || states[0].Pid != states[1].Pid {
		t.Errorf("asked %d times, states %+v", asked, states)
	}
}

func TestAFailingCheckBeforeTheStartIsTriedAgain(t *testing.T) {
	t.Parallel()
	reason := errors.New("the address is taken")
	tries := 0
	spec := shell("exec cat")
	spec.Before = func(context.Context) error {
		if tries++; tries < 3 {
			return reason
		}
		return nil
	}
	states := supervise(t, spec, func(s State) bool { return s.Phase == Ready })
	if !errors.Is(states[0].Err, reason) || states[0].Phase != Down || tries != 3 || len(states) != 5 {
		t.Errorf("%d tries, states %+v", tries, states)
	}
}

func TestAChildThatIgnoresSIGTERMIsKilled(t *testing.T) {
	t.Parallel()
	var out safeBuffer
	spec := shell(`trap 'echo asked' TERM; echo up; while :; do read x; done`)
	spec.Stdout, spec.Grace = &out, 300*time.Millisecond
	spec.Ready = func(context.Context) error {
		if !strings.Contains(out.String(), "up") {
			return errors.New("not yet")
		}
		return nil
	}
	supervise(t, spec, func(s State) bool { return s.Phase == Ready })
	if got := out.String(); !strings.HasPrefix(got, "up\nasked\n") {
		t.Errorf("the child printed %q, want that it was asked to stop", got)
	}
}

func TestAChildThatEndsOnSIGTERMIsNotWaitedForLonger(t *testing.T) {
	t.Parallel()
	spec := shell("exec sleep 1000")
	spec.Grace = time.Hour
	supervise(t, spec, func(s State) bool { return s.Phase == Ready })
}

func TestAChildKnowsThatItIsSupervised(t *testing.T) {
	t.Parallel()
	var out safeBuffer
	spec := shell("echo $" + EnvSupervised + " $EXTRA; exec cat")
	spec.Env, spec.Stdout = []string{"EXTRA=more"}, &out
	spec.Ready = func(context.Context) error {
		if out.String() == "" {
			return errors.New("not yet")
		}
		return nil
	}
	supervise(t, spec, func(s State) bool { return s.Phase == Ready })
	if got := out.String(); got != "1 more\n" {
		t.Errorf("the child sees %q", got)
	}
}

func TestWhatCannotRunIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]Spec{
		"no command":     {Name: "test"},
		"no name":        {Argv: []string{"sh"}},
		"no such binary": {Name: "test", Argv: []string{"/no/such/program"}},
	} {
		if err := Supervise(t.Context(), spec, slog.New(slog.DiscardHandler), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The kernel binds the parent-death signal to the thread that forked: threads
// of this process may end without taking the child with them.
func TestAChildOutlivesTheThreadsOfItsParent(t *testing.T) {
	t.Parallel()
	var out safeBuffer
	spec := shell("while :; do echo x; sleep 0.01; done")
	spec.Stdout = &out
	spec.Grace = time.Second
	states := supervise(t, spec, func(s State) bool {
		if s.Phase != Ready {
			return s.Phase == Down
		}
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
				syscall.Getpid()
			})
		}
		wg.Wait()
		before := len(out.String())
		for range 500 {
			if len(out.String()) >= before+6 {
				return true
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Error("the child prints nothing more")
		return true
	})
	if slices.ContainsFunc(states, func(s State) bool { return s.Phase == Down }) {
		t.Errorf("the child died: %+v", states)
	}
}

func TestWatchStdinEndsWithItsInput(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	ctx := WatchStdin(t.Context(), r)
	if _, err := io.WriteString(w, "ignored"); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("the context ended while the pipe is open")
	}
	w.Close()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, ErrParentGone) {
		t.Errorf("cause %v", err)
	}
}

func TestWatchStdinEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close()
	parent, cancel := context.WithCancel(t.Context())
	ctx := WatchStdin(parent, r)
	cancel()
	<-ctx.Done()
	if err := context.Cause(ctx); errors.Is(err, ErrParentGone) {
		t.Errorf("cause %v", err)
	}
}

// safeBuffer is written by the goroutine that copies a child's output.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
