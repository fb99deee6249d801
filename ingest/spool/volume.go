package spool

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Free returns the bytes that are free to this process, and all bytes, of the
// filesystem that holds path.
func Free(path string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &st) }); err != nil {
		return 0, 0, fmt.Errorf("ask for the free space of %s: %w", path, err)
	}
	unit := blockUnit(&st)
	return uint64(max(0, int64(st.Bavail))) * unit, st.Blocks * unit, nil
}

// A Volume says how a filesystem behaves.
type Volume struct {
	// Network: NFS, SMB, FUSE and their like. What others do there raises no
	// notifications.
	Network bool
	// Inodes: inode numbers stay with their files. On FUSE and SMB they may
	// change whenever the kernel forgets a file.
	Inodes bool
}

// VolumeOf describes the filesystem that holds path.
func VolumeOf(path string) (Volume, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &st) }); err != nil {
		return Volume{}, fmt.Errorf("ask for the filesystem of %s: %w", path, err)
	}
	return volumeOf(&st), nil
}

// NetworkFS reports whether path is on NFS, SMB, FUSE or their like; false
// where it cannot be told.
func NetworkFS(path string) bool {
	v, err := VolumeOf(path)
	return err == nil && v.Network
}
