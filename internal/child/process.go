package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is one running child. Its methods may be called from any goroutine.
type Process struct {
	cmd  *exec.Cmd
	pid  int
	done chan struct{}
	err  error // set before done is closed
}

// Start runs one process of spec, which nobody starts again; Before and Ready
// are not looked at.
//
// It forks from a goroutine that keeps its operating system thread for the
// whole life of the child: the kernel's parent-death signal is bound to the
// thread that forked, not to the process, and would fire early if the Go
// runtime retired that thread.
func Start(spec Spec) (*Process, error) {
	cmd := exec.Command(spec.Argv[0], spec.Argv[1:]...)
	cmd.Env = append(append(os.Environ(), spec.Env...), EnvSupervised+"=1")
	cmd.Dir = spec.Dir
	cmd.Stdout, cmd.Stderr = spec.Stdout, spec.Stderr
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = outputDelay
	// The write end stays open in this process only; the child sees the end of
	// its standard input when this process is gone.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- fmt.Errorf("starting %s: %w", spec.Name, err)
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		p.err = ended(spec.Name, cmd.Wait())
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(err, stdin.Close())
	}
	return p, nil
}

// ended turns what Wait returned into the reason that logs show.
func ended(name string, err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return fmt.Errorf("running %s: it ended without being asked to", name)
	case errors.As(err, &exit):
		return fmt.Errorf("running %s: %s", name, exit.ProcessState)
	}
	return fmt.Errorf("running %s: %w", name, err)
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the process is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended; it may be called once Done is closed.
func (p *Process) Err() error { return p.err }

// Stop ends the process with SIGTERM, and after grace (0 means 10 s) with
// SIGKILL. It returns when the process is gone, and whether SIGTERM was enough.
func (p *Process) Stop(grace time.Duration) bool {
	if grace <= 0 {
		grace = graceDefault
	}
	// An error here means that the process has ended already.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
	}
	p.Kill()
	return false
}

// Kill ends the process with SIGKILL and returns when it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended already
	<-p.done
}
