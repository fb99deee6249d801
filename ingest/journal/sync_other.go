//go:build !linux

package journal

import "os"

// syncFile has a file's bytes, and its length, on disk when it returns.
func syncFile(f *os.File) error { return f.Sync() }
