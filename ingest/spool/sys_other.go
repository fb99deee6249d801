//go:build unix && !linux

package spool

import (
	"os"

	"golang.org/x/sys/unix"
)

// Elsewhere the portable ways are taken: link and unlink in place of a rename
// that does not replace, a copy in place of a reflink, and no leases.

func renameNoReplace(*os.File, string, *os.File, string) error { return unix.ENOSYS }

func clone(dst, src *os.File) error { return unix.ENOTSUP }

// Writing reports whether some process has f open for writing, as far as the
// kernel tells; here it does not.
func Writing(f *os.File) bool { return false }

func blockUnit(st *unix.Statfs_t) uint64 { return uint64(st.Bsize) }

func volumeOf(*unix.Statfs_t) Volume { return Volume{Inodes: true} }
