package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFile has a file's bytes, and its length, on disk when it returns.
func syncFile(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
