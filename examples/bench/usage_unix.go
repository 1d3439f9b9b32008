//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// used returns what this process has used so far.
func used() (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, fmt.Errorf("asking the system for the CPU time: %w", err)
	}
	u := usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), PeakRSS: int64(r.Maxrss)}
	if runtime.GOOS != "darwin" { // getrusage(2): kilobytes everywhere else
		u.PeakRSS *= 1024
	}
	// Linux hands the maximum of getrusage on from parent to child; VmHWM is this program's own.
	if peak := 0; runtime.GOOS == "linux" {
		if _, err := fmt.Sscan(field("/proc/self/status", "VmHWM"), &peak); err == nil {
			u.PeakRSS = int64(peak) * 1024
		}
	}
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return u, nil // not Linux, or not permitted: the bytes stay 0
	}
	for _, l := range bytes.Split(text, []byte("\n")) {
		name, value, _ := bytes.Cut(l, []byte(": "))
		n, _ := strconv.ParseInt(string(value), 10, 64)
		switch string(name) {
		case "rchar":
			u.Read = n
		case "wchar":
			u.Written = n
		case "write_bytes":
			u.DiskDone = n
		}
	}
	return u, nil
}
