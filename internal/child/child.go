// Package child runs another program as a supervised child process: it starts
// it, waits until it is ready, starts it again with back-off when it dies and
// stops it when its context ends. The broker and the roles of a plant run as
// children of plantloom, so that a crash of one never takes the others down.
//
// It never knows what the child does, never reads its output and never keeps a
// child alive beyond its parent: the kernel kills the child when the parent
// dies (Linux), and a child that calls WatchStdin ends on its own when the
// pipe on its standard input closes (everywhere).
//
// Importers: pipeline/broker, pipeline/run, cmd/plantloom and e2e.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"time"
)

// EnvSupervised is set to "1" in the environment of every child. A program
// calls WatchStdin only when it is set: started by hand or by systemd its
// standard input may be closed from the beginning.
const EnvSupervised = "PLANTLOOM_SUPERVISED"

const (
	backoffMin   = 100 * time.Millisecond
	backoffMax   = 5 * time.Second
	healthyAfter = 10 * time.Second       // ready for so long: the next back-off starts from the minimum
	probeEvery   = 20 * time.Millisecond  // pause between two readiness probes
	probeLimit   = 2 * time.Second        // one probe may take so long
	slowStart    = 30 * time.Second       // a warning when a child is not ready by then
	graceDefault = 10 * time.Second       // between SIGTERM and SIGKILL
	outputDelay  = 500 * time.Millisecond // output of a dead child is copied for so long
)

// Spec says how to run one child.
type Spec struct {
	Name string   // for logs: "broker", "collect"
	Argv []string // program and arguments; the program is looked up in PATH when it has no slash
	Env  []string // KEY=value, added to the parent's environment
	Dir  string   // working directory; "" means the parent's

	// Before runs ahead of every start; an error counts as a failed start and
	// is tried again after the back-off. Optional.
	Before func(ctx context.Context) error

	// Ready returns nil when the child does its work. It is called again and
	// again, with a context of 2 s, until it does or the child dies. Without
	// it a child is ready as soon as it runs.
	Ready func(ctx context.Context) error

	Stdout, Stderr io.Writer     // where the child's output goes; nil discards it
	Grace          time.Duration // between SIGTERM and SIGKILL; 0 means 10 s
}

// Phase is where a child stands in its life.
type Phase int

// The phases in the order in which a child passes through them.
const (
	Starting Phase = iota // the process runs, it is not ready yet
	Ready                 // Spec.Ready returned nil
	Down                  // it died or could not be started; the next start follows after Wait
	Stopped               // the context ended and the process is gone
)

// String returns the phase as logs and status pages print it.
func (p Phase) String() string {
	return [...]string{"starting", "ready", "down", "stopped"}[p]
}

// State is one change in a child's life.
type State struct {
	Phase    Phase
	Pid      int           // 0 unless Starting or Ready
	Restarts int           // completed starts before this one
	Err      error         // Down: why
	Wait     time.Duration // Down: until the next start
}

// Supervise keeps one child of spec running until ctx ends, then stops it and
// returns nil once the process is gone. It returns an error at once, without
// starting anything, when spec cannot be run at all. onState (may be nil) is
// called from Supervise's own goroutine for every change and must not block.
func Supervise(ctx context.Context, spec Spec, log *slog.Logger, onState func(State)) error {
	if len(spec.Argv) == 0 || spec.Name == "" {
		return errors.New("supervising a child: name and command line are needed")
	}
	if _, err := exec.LookPath(spec.Argv[0]); err != nil {
		return fmt.Errorf("supervising %s: %w", spec.Name, err)
	}
	if onState == nil {
		onState = func(State) {}
	}
	s := &supervisor{spec: spec, log: log.With("child", spec.Name), onState: onState}
	wait := backoffMin
	for ctx.Err() == nil {
		healthy, err := s.once(ctx)
		if ctx.Err() != nil {
			break
		}
		if healthy {
			wait = backoffMin
		}
		s.log.Warn("child is down, starting it again", "err", err, "wait", wait)
		onState(State{Phase: Down, Restarts: s.starts, Err: err, Wait: wait})
		sleep(ctx, wait)
		wait = min(2*wait, backoffMax)
	}
	onState(State{Phase: Stopped, Restarts: max(s.starts-1, 0)})
	return nil
}

type supervisor struct {
	spec    Spec
	log     *slog.Logger
	onState func(State)
	starts  int // processes started so far
}

// once runs one process from start to end. It reports whether the process was
// healthy (ready for some time) and why it ended.
func (s *supervisor) once(ctx context.Context) (healthy bool, err error) {
	if s.spec.Before != nil {
		if err := s.spec.Before(ctx); err != nil {
			return false, err
		}
	}
	p, err := Start(s.spec)
	if err != nil {
		return false, err
	}
	restarts := s.starts
	s.starts++
	s.onState(State{Phase: Starting, Pid: p.Pid(), Restarts: restarts})

	probeCtx, stopProbe := context.WithCancel(ctx)
	defer stopProbe()
	ready := make(chan struct{})
	go s.probe(probeCtx, ready)
	slow := time.NewTimer(slowStart)
	defer slow.Stop()
	var well <-chan time.Time
	for {
		select {
		case <-ready:
			ready = nil
			slow.Stop()
			well = time.After(healthyAfter)
			s.log.Info("child is ready", "pid", p.Pid(), "restarts", restarts)
			s.onState(State{Phase: Ready, Pid: p.Pid(), Restarts: restarts})
		case <-slow.C:
			s.log.Warn("child is still not ready", "pid", p.Pid(), "after", slowStart)
		case <-well:
			healthy = true
		case <-p.Done():
			return healthy, p.Err()
		case <-ctx.Done():
			if !p.Stop(s.spec.Grace) {
				s.log.Warn("child did not stop in time and was killed", "pid", p.Pid())
			}
			return healthy, nil
		}
	}
}

// probe closes ready when the child answers; it ends with ctx.
func (s *supervisor) probe(ctx context.Context, ready chan<- struct{}) {
	for s.spec.Ready != nil {
		one, cancel := context.WithTimeout(ctx, probeLimit)
		err := s.spec.Ready(one)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			break
		}
		sleep(ctx, probeEvery)
	}
	close(ready)
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
