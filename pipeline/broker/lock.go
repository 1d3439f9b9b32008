package broker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lock holds a data directory for one broker. The kernel drops it when the
// process dies, so a crash leaves nothing to clean up.
type lock struct{ f *os.File }

// takeLock creates dir if need be and locks it. When another broker has it the
// error says which process.
func takeLock(dir string) (*lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the data directory: %w", err)
	}
	// The directory may have come from a wider umask or an older installation.
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("protecting the data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := holder(f)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is in use by %s: stop it first, or give this broker a directory of its own", dir, holder)
		}
		return nil, fmt.Errorf("locking the data directory %s: %w", dir, err)
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintf("process %d", os.Getpid()))); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the data directory %s: %w", dir, err)
	}
	return &lock{f: f}, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// holder reads who wrote the lock file.
func holder(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if s := strings.TrimSpace(string(text)); err == nil && s != "" {
		return s
	}
	return "another process"
}

// release gives the directory back. The file stays: removing it would let two
// brokers lock two files of the same name.
func (l *lock) release() error {
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("releasing the data directory: %w", err)
	}
	return nil
}
