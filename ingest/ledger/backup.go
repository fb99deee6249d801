package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Backup writes a consistent copy of the ledger to a new file, while it is in
// use. It is whole under its name or not there; a file that is there already is
// never overwritten. Everything reported as done before the call is in it.
func (l *Ledger) Backup(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return fmt.Errorf("back up the ledger to %s: %w", path, err)
	}
	// The readers' connections may not even write another file.
	db, err := sql.Open("sqlite", l.dsn())
	if err != nil {
		return fmt.Errorf("back up the ledger: %w", err)
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("back up the ledger: %w", err)
	}
	defer conn.Close()
	return copyTo(ctx, conn, path)
}

// copyTo copies the database: tmp, sync, rename, sync the directory.
func copyTo(ctx context.Context, conn *sql.Conn, path string) (err error) {
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
			err = fmt.Errorf("copy the ledger to %s: %w", path, err)
		}
	}()
	// What the copy holds is private: SQLite would make it as the umask says.
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := conn.ExecContext(ctx, "VACUUM INTO ?", tmp); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
