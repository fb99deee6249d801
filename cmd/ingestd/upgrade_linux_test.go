package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// upgradeFrom is a state directory, its folder and its target's journal as a
// binary of ledger schema 1 left them when it was killed with files under way.
const upgradeFrom = "testdata/upgrade-0001.tar.gz"

// upgradeRack is how the rack of upgradeFrom was made; its ids follow from it.
func upgradeRack(t *testing.T) *rack {
	r := newRack(t, 2*time.Minute, 1200, 21)
	for range 3 {
		r.drop()
	}
	return r
}

// TestUpgradeData makes upgradeFrom anew with the binary that is named.
func TestUpgradeData(t *testing.T) {
	binary := os.Getenv("UPGRADE_FROM_BINARY")
	if binary == "" {
		t.Skip("UPGRADE_FROM_BINARY names the old binary that testdata is to be made with")
	}
	r := upgradeRack(t)
	r.binary = binary
	s := r.start()
	r.until("some requests", r.sent(0, 9))
	s.end(syscall.SIGKILL)
	if err := os.WriteFile(r.path("was"), []byte(r.dir), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	err := filepath.Walk(r.dir, func(path string, info fs.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() || strings.HasSuffix(path, "-shm") {
			return err
		}
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		h.Format = tar.FormatPAX // nanoseconds
		h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
		h.Uname, h.Gname = "", ""
		if h.Name, err = filepath.Rel(r.dir, path); err != nil {
			return err
		}
		if err := w.WriteHeader(h); err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	})
	if err := errors.Join(err, w.Close(), z.Close(), os.WriteFile(upgradeFrom, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes", upgradeFrom, out.Len())
}

// TestUpgrade goes on with what an older binary had under way, with kills, and
// under other settings than it began with.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	r := upgradeRack(t)
	// The target of its own goes: another one takes the old journal up.
	if err := r.target.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	r.unpack(upgradeFrom)
	r.spawn(22)
	r.relocate()
	before := len(r.open())
	if before == 0 {
		t.Fatal("nothing is under way in " + upgradeFrom)
	}
	rnd := rand.New(rand.NewPCG(21, 3))
	for kill := range 4 {
		r.settings(kill + 1)
		r.kill(10*time.Second, nil, fmt.Sprintf("%s=%s:%d", dieAt, "after send", 1+rnd.IntN(6)))
	}
	r.finish()
	r.judge(fmt.Sprintf("an upgrade with %d claims open, 4 kills -9", before))
}

// unpack puts an archive into the rack's directory.
func (r *rack) unpack(archive string) {
	r.t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		r.t.Fatal(err)
	}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			r.t.Fatal(err)
		}
		path := filepath.Join(r.dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(path, 0o700)
		} else {
			var b []byte
			if b, err = io.ReadAll(tr); err == nil {
				err = errors.Join(os.WriteFile(path, b, 0o600), os.Chtimes(path, h.ModTime, h.ModTime))
			}
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// relocate tells the ledger where its files are on this machine.
func (r *rack) relocate() {
	r.t.Helper()
	was, err := os.ReadFile(r.path("was"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.ledger(func(db *sql.DB) error {
		for _, column := range []string{"arrivals.path", "arrivals.origin", "batches.place_path"} {
			table, c, _ := strings.Cut(column, ".")
			kind := "BLOB"
			if table == "batches" {
				kind = "TEXT"
			}
			q := fmt.Sprintf("UPDATE %s SET %s = CAST(replace(CAST(%s AS TEXT), ?, ?) AS %s) WHERE %s IS NOT NULL", table, c, c, kind, c)
			if _, err := db.Exec(q, string(was), r.dir); err != nil {
				return fmt.Errorf("%s: %w", column, err)
			}
		}
		rows, err := db.Query("SELECT id, CAST(path AS TEXT) FROM arrivals WHERE put_away = 0")
		if err != nil {
			return err
		}
		defer rows.Close()
		paths := map[int64]string{}
		for rows.Next() {
			var id int64
			var path string
			if err := rows.Scan(&id, &path); err != nil {
				return err
			}
			paths[id] = path
		}
		for id, path := range paths {
			var st syscall.Stat_t
			if err := syscall.Stat(path, &st); err != nil {
				continue // put away, which the ledger did not hear of
			}
			if _, err := db.Exec("UPDATE arrivals SET device = ?, inode = ? WHERE id = ?", int64(st.Dev), int64(st.Ino), id); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// open lists the claims that are open in the ledger.
func (r *rack) open() (ids []int64) {
	r.t.Helper()
	r.ledger(func(db *sql.DB) error {
		rows, err := db.Query("SELECT id FROM claims WHERE state = 'open'")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	return ids
}

// ledger does something with the ledger's file while no daemon runs.
func (r *rack) ledger(do func(*sql.DB) error) {
	r.t.Helper()
	db, err := sql.Open("sqlite", "file:"+r.path("state/ledger.db"))
	if err != nil {
		r.t.Fatal(err)
	}
	db.SetMaxOpenConns(2)
	if err := errors.Join(do(db), db.Close()); err != nil {
		r.t.Fatal(err)
	}
}
