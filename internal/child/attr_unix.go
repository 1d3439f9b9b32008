//go:build unix && !linux

package child

import "syscall"

// attributes puts the child into a process group of its own: Ctrl-C in a
// terminal reaches the supervisor only, which stops its children in order.
// There is no parent-death signal here; the pipe on standard input does it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
