package spool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameNoReplace renames unless newName is taken (EEXIST).
func renameNoReplace(from *os.File, oldName string, to *os.File, newName string) error {
	return retry(func() error {
		return unix.Renameat2(int(from.Fd()), oldName, int(to.Fd()), newName, unix.RENAME_NOREPLACE)
	})
}

// clone makes dst share src's blocks.
func clone(dst, src *os.File) error {
	return retry(func() error { return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) })
}

// Writing reports whether some process has f, which must be open for reading
// only, open for writing, as far as the kernel tells: it does so on local
// filesystems, about one's own files or with CAP_LEASE. A read lease can be
// had only while there is no writer (fcntl(2), F_SETLEASE).
func Writing(f *os.File) bool {
	const lease = unix.F_SETLEASE
	_, err := unix.FcntlInt(f.Fd(), lease, unix.F_RDLCK)
	if err == nil {
		unix.FcntlInt(f.Fd(), lease, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}

func blockUnit(st *unix.Statfs_t) uint64 {
	if st.Frsize > 0 {
		return uint64(st.Frsize)
	}
	return uint64(st.Bsize)
}

// Magic numbers of filesystems that the kernel's headers keep to themselves.
const (
	magicAFS2  = 0x6b414653 // kAFS
	magicCeph  = 0x00c36400
	magicGFS2  = 0x01161970
	magicOCFS2 = 0x7461636f
	magicVBox  = 0x786f4256 // shared folders
	magicLust  = 0x0bd00bd0 // Lustre
)

func volumeOf(st *unix.Statfs_t) Volume {
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, magicCeph, unix.AFS_SUPER_MAGIC, magicAFS2, magicGFS2, magicOCFS2, magicLust,
		unix.CODA_SUPER_MAGIC:
		return Volume{Network: true, Inodes: true}
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.NCP_SUPER_MAGIC, magicVBox:
		return Volume{Network: true}
	}
	return Volume{Inodes: true}
}
