package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// host says where the figures were made.
type host struct {
	CPU, OS, Go, Commit string
	Cores, MaxProcs     int
	MemoryMiB           int
	Sync                spread // ms of a 4 KiB write with fsync in the directory of the brokers
	Load                string // load averages when the bench began, "unknown" where the system has none
}

// describe looks at this machine; dir is where the brokers keep their files.
func describe(ctx context.Context, dir string, now func() time.Time) (host, error) {
	h := host{
		OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Cores: runtime.NumCPU(), MaxProcs: runtime.GOMAXPROCS(0),
		CPU: field("/proc/cpuinfo", "model name"), Commit: commit(ctx), Load: load(),
	}
	if _, err := fmt.Sscan(field("/proc/meminfo", "MemTotal"), &h.MemoryMiB); err == nil {
		h.MemoryMiB /= 1024
	}
	var err error
	h.Sync, err = syncTime(dir, now)
	return h, err
}

// field returns the first value of a name in a file of lines "name: value", "unknown" without one.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// load returns the load averages; anything far above 0 before a run spoils it.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(text)); err == nil && len(f) >= 3 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}

// busy says whether the machine had other work when the bench began.
func (h host) busy() bool {
	var one float64
	_, err := fmt.Sscan(h.Load, &one)
	return err == nil && one > 0.5
}

// commit names the version of the source in the working directory, with "+changes" when it is not as committed.
func commit(ctx context.Context) string {
	id, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(id))
	// docs are left out: the page that is written is one of them.
	changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", ".", ":!docs").Output()
	if err != nil || len(changed) > 0 {
		name += "+changes"
	}
	return name
}

// syncTime measures what the disk takes for a small durable write, in ms.
func syncTime(dir string, now func() time.Time) (s spread, err error) {
	f, err := os.CreateTemp(dir, "plantloom-bench-sync-")
	if err != nil {
		return s, fmt.Errorf("measuring the disk in %s: %w", filepath.Clean(dir), err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	var times []float64
	for range 200 {
		began := now()
		if _, err := f.Write(block); err != nil {
			return s, fmt.Errorf("measuring the disk: %w", err)
		}
		if err := f.Sync(); err != nil {
			return s, fmt.Errorf("measuring the disk: %w", err)
		}
		times = append(times, float64(now().Sub(began))/1e6)
	}
	return spreadOf(times), nil
}
