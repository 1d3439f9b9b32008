package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// The bench runs what it measures in child processes of the same program, so that each has a fresh heap and CPU time of
// its own. Parent and child exchange JSON values over the child's standard input and output; a child ends when its
// standard input does.

// proc is a child process.
type proc struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	enc *json.Encoder
	dec *json.Decoder
}

// spawn starts this program as a child with a role and its job.
func spawn(ctx context.Context, role string, job any) (*proc, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the program's own file: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, roleFlag, role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the %s: %w", role, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the %s: %w", role, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the %s: %w", role, err)
	}
	p := &proc{cmd: cmd, in: in, enc: json.NewEncoder(in), dec: json.NewDecoder(out)}
	if err := p.enc.Encode(job); err != nil {
		return nil, errors.Join(fmt.Errorf("handing the job to the %s: %w", role, err), p.close())
	}
	return p, nil
}

// answer waits for the child's next value.
func (p *proc) answer(v any) error {
	if err := p.dec.Decode(v); err != nil {
		return fmt.Errorf("waiting for a child process: %w", err)
	}
	return nil
}

// ask sends a word and waits for the child's answer to it.
func (p *proc) ask(word string, v any) error {
	if err := p.enc.Encode(word); err != nil {
		return fmt.Errorf("asking a child process: %w", err)
	}
	return p.answer(v)
}

// close ends the child and waits for it.
func (p *proc) close() error {
	err := p.in.Close()
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("ending a child process: %w", err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() }) // it is ours, and has had its time
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("ending a child process: %w", err)
	}
	return nil
}

// parent is a child's end of the pipes.
type parent struct {
	enc *json.Encoder
	dec *json.Decoder
}

func newParent(in io.Reader, out io.Writer) parent {
	return parent{json.NewEncoder(out), json.NewDecoder(in)}
}

// serve runs the role of a child process.
func serve(ctx context.Context, role string, p parent, now func() time.Time) error {
	switch role {
	case roleBroker:
		return serveBroker(ctx, p, now)
	case roleSpine:
		return serveSpine(ctx, p, now)
	}
	return fmt.Errorf("unknown role %q", role)
}

const (
	roleFlag   = "-role-of-child"
	roleBroker = "broker"
	roleSpine  = "spine"
)
