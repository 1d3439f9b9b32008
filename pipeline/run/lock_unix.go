//go:build unix

package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockState makes the state directory and takes one lock per role, so that two processes never share a role's state.
func lockState(dir string, roles []string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	var files []*os.File
	unlock = func() {
		for _, f := range files {
			f.Close() // closing releases the lock
		}
	}
	for _, role := range roles {
		if role == "broker" {
			continue // the broker child locks its own directory
		}
		name := filepath.Join(dir, "lock."+role)
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			unlock()
			return nil, fmt.Errorf("opening the lock of the state directory: %w", err)
		}
		files = append(files, f)
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			holder, _ := os.ReadFile(name)
			unlock()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("the state directory %s is in use by another plantloom (process %s) with role %s; stop it, or set another state_dir", dir, strings.TrimSpace(string(holder)), role)
			}
			return nil, fmt.Errorf("locking the state directory: %w", err)
		}
		if err := f.Truncate(0); err == nil {
			fmt.Fprintln(f, os.Getpid())
		}
	}
	return unlock, nil
}
