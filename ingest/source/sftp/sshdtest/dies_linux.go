package sshdtest

import "syscall"

// dies makes the server end with the test process, also where that is killed.
func dies() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
