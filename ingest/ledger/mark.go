package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A mark stands beside the ledger and says which ledger belongs here and its
// epoch, which rises with each start and while it runs, so that a lost, another
// or an older one is noticed.
type mark struct {
	path  string
	seed  string
	epoch int64
}

const markName = "ledger.mark"

func readMark(dir string) (*mark, error) {
	m := &mark{path: filepath.Join(dir, markName)}
	b, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger's mark: %w", err)
	}
	if _, err := fmt.Sscanf(string(b), "%s %d\n", &m.seed, &m.epoch); err != nil {
		// A torn mark says that there was a ledger, and no more.
		m.seed, m.epoch = "", 0
	}
	return m, nil
}

func writeMark(dir, seed string, epoch int64) error {
	tmp := filepath.Join(dir, markName+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write ledger's mark: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s %d\n", seed, epoch)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, filepath.Join(dir, markName))
	}
	if err != nil {
		return fmt.Errorf("write ledger's mark: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// seedSum names the ledger without giving its seed away.
func (l *Ledger) seedSum() string {
	sum := sha256.Sum256(l.seed[:])
	return hex.EncodeToString(sum[:8])
}

// errContradiction is damage that SQLite itself does not see.
var errContradiction = errors.New("its tables contradict each other")

func isDamage(err error) bool {
	if errors.Is(err, errContradiction) {
		return true
	}
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return false
	}
	c := se.Code() & 0xff
	return c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB
}

// networkFS names the file system where it is none that SQLite's locks and
// shared memory work on.
func networkFS(dir string) string {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return ""
	}
	switch uint32(st.Type) {
	case 0x6969:
		return "NFS"
	case 0x517b, 0xff534d42, 0xfe534d42:
		return "SMB"
	}
	return ""
}
