package broker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// runChild runs a broker in a process of its own until the end of the test.
func runChild(t *testing.T, dir, addr string) *Child {
	t.Helper()
	c := NewChild(childArgv(dir, addr), addr, slog.New(slog.NewTextHandler(t.Output(), nil)))
	c.Output = t.Output()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if pid := c.Pid(); pid != 0 {
			t.Errorf("after the end the child still has pid %d", pid)
		}
	})
	select {
	case <-c.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("the broker is not ready after 20 s")
	}
	return c
}

// childArgv runs this test binary as a broker; env replaces itself by it.
func childArgv(dir, addr string) []string {
	return []string{"/usr/bin/env", envRole + "=broker", envDir + "=" + dir, envAddr + "=" + addr, os.Args[0]}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// What a broker acknowledged is there after any number of kills, once and in
// order per writer: the sequence numbers of idempotent producers are kept.
func TestAcknowledgedRecordsSurviveKills(t *testing.T) {
	t.Parallel()
	const kills, writers, between = 6, 4, 200
	addr := freeAddr(t)
	c := runChild(t, t.TempDir(), addr)
	createTopic(t, addr, "t", 2)

	var acked atomic.Int64
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	last := make([]int, writers) // numbers acknowledged per writer: 0 .. last-1
	for w := range writers {
		cl := client(t, addr, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
		wg.Go(func() { last[w] = keepWriting(ctx, t, cl, w, &acked) })
	}
	for k := range kills {
		goal := acked.Load() + between
		eventually(t, "acknowledged records", func() bool { return acked.Load() >= goal || t.Failed() })
		kill(t, c.Pid())
		eventually(t, "the restart", func() bool { return c.Restarts() > k })
	}
	goal := acked.Load() + between
	eventually(t, "acknowledged records", func() bool { return acked.Load() >= goal || t.Failed() })
	stop()
	wg.Wait()

	total := 0
	for _, n := range last {
		total += n
	}
	next := make([]int, writers)
	for _, v := range consume(t, addr, "t", total) {
		var w, n int
		if _, err := fmt.Sscan(v, &w, &n); err != nil {
			t.Fatal(err)
		}
		if n != next[w] {
			t.Errorf("writer %d: record %d comes where %d is due", w, n, next[w])
		}
		next[w] = n + 1
	}
	t.Logf("%d records, %d restarts", total, c.Restarts())
	for w := range writers {
		if next[w] < last[w] {
			t.Errorf("writer %d: %d records acknowledged, %d there", w, last[w], next[w])
		}
	}
}

// keepWriting writes numbered records of writer w until ctx ends and returns
// how many were acknowledged.
func keepWriting(ctx context.Context, t *testing.T, cl *kgo.Client, w int, acked *atomic.Int64) int {
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return n
		}
		r := &kgo.Record{Topic: "t", Key: []byte{byte(w)}, Value: fmt.Appendf(nil, "%d %d", w, n)}
		// Not cancelled with ctx: what is sent is waited for.
		if err := cl.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			t.Errorf("writer %d, record %d: %v", w, n, err)
			return n
		}
		acked.Add(1)
	}
}

func TestChildStopsCleanly(t *testing.T) {
	t.Parallel()
	dir, addr := t.TempDir(), freeAddr(t)
	t.Run("run and stop", func(t *testing.T) {
		runChild(t, dir, addr)
	})
	if _, err := os.Stat(dir + "/" + cleanMark); err != nil {
		t.Errorf("the stopped broker left no mark: %v", err)
	}
}

func TestChildWaitsForAForeignProgramToLeaveItsAddress(t *testing.T) {
	t.Parallel()
	var lines logBuffer
	foreign := startBroker(t, testConfig(t.TempDir()))
	c := NewChild(childArgv(t.TempDir(), foreign.Addr()), foreign.Addr(), slog.New(slog.NewTextHandler(&lines, nil)))
	c.Output = io.Discard
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	eventually(t, "a word about the address", func() bool {
		return lines.contains("address " + foreign.Addr() + " is taken by another program")
	})
	select {
	case <-c.Ready():
		t.Error("the foreign broker passed for the child")
	default:
	}
	closeBroker(t, foreign)
	select {
	case <-c.Ready():
	case <-time.After(20 * time.Second):
		t.Error("the child did not start when the address was free")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A killed supervisor leaves no broker on the port or on the directory.
func TestChildEndsWithItsParent(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.Listen = freeAddr(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), envRole+"=parent", envDir+"="+cfg.Dir, envAddr+"="+cfg.Listen)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), cfg); err == nil {
		t.Error("the directory is free while the parent lives")
	}
	kill(t, parent.Process.Pid)
	if err := parent.Wait(); err == nil {
		t.Error("the parent ended by itself")
	}
	eventually(t, "the end of the broker", func() bool {
		b, err := Start(t.Context(), cfg)
		if err != nil {
			return false
		}
		closeBroker(t, b)
		return true
	})
}
