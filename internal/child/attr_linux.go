package child

import "syscall"

// attributes makes the kernel kill the child when the thread that started it
// ends, and puts the child into a process group of its own: Ctrl-C in a
// terminal reaches the supervisor only, which stops its children in order.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
