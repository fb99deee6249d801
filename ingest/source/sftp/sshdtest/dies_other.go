//go:build !linux

package sshdtest

import "syscall"

func dies() *syscall.SysProcAttr { return nil }
