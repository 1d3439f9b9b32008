//go:build unix

package plant

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockDir makes sure that one program uses the directory. The lock ends with
// the process, however that ends.
func lockDir(path string) (func() error, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another demo plant uses this state directory (%s): stop it or give --state another one: %w", path, err), f.Close())
	}
	return f.Close, nil
}
