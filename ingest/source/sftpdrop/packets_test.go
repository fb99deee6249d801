package sftpdrop

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
)

// A wire is a client that says what it has to say and goes.
type wire struct {
	io.Reader
	io.Writer
}

func (wire) Close() error { return nil }

// packet is one packet of the protocol: a type, and fields that are numbers,
// texts or raw bytes.
func packet(typ byte, fields ...any) []byte {
	b := []byte{0, 0, 0, 0, typ}
	for _, f := range fields {
		switch f := f.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(f))
		case int64:
			b = binary.BigEndian.AppendUint64(b, uint64(f))
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
		case []byte:
			b = append(b, f...)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// FuzzPackets speaks any bytes to the server as a partner that has logged in:
// it must not fall over, and nothing may come to stand in orders but what was
// written and closed.
func FuzzPackets(f *testing.F) {
	const (
		opn, cls, read, write, lstat, fstat, setstat, fsetstat = 3, 4, 5, 6, 7, 8, 9, 10
		opendir, readdir, remove, mkdir, rename, extended      = 11, 12, 13, 14, 18, 200
	)
	start := packet(1, 3)
	for _, ps := range [][][]byte{
		{packet(opn, 1, "/orders/a", 0x1a, 0), packet(write, 2, "1", int64(0), "data"), packet(cls, 3, "1")},
		{packet(opn, 1, "/orders/a", 0x1b, 4, 0), packet(read, 2, "1", int64(0), 100), packet(write, 2, "1", int64(-1), "x"), packet(cls, 3, "1")},
		{packet(opn, 1, "a", 0x0a, 0), packet(read, 2, "1", int64(1<<40), 1<<30), packet(fsetstat, 3, "1", 1, int64(5)), packet(fstat, 4, "1")},
		{packet(opendir, 1, "/"), packet(readdir, 2, "1"), packet(readdir, 3, "1"), packet(write, 4, "1", int64(0), "x"), packet(cls, 5, "1"), packet(cls, 6, "1")},
		{packet(setstat, 1, "/orders", 0x8000000f, []byte{1, 2, 3}), packet(lstat, 2, "/orders"), packet(mkdir, 3, "x", 0), packet(remove, 4, "/x")},
		{packet(rename, 1, "/orders", "/../x"), packet(extended, 2, "posix-rename@openssh.com", "/orders/a", "/orders/b"), packet(extended, 3, "statvfs@openssh.com", "/")},
		{packet(extended, 1, "hardlink@openssh.com", "a", "b"), packet(extended, 1, "what@ever", "x"), {0, 0, 0, 1, 99}, {0xff, 0xff, 0xff, 0xff}},
		{packet(opn, 1, "/orders/a", 0x1a, 0), packet(opn, 1, "/orders/a", 0x1a, 0), packet(write, 2, "1", int64(0), "data"), packet(cls, 3, "2"), packet(cls, 3, "1")},
	} {
		f.Add(append(bytes.Clone(start), bytes.Join(ps, nil)...))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		// Bytes without a frame would be fuzzing the frames alone.
		dir := filepath.Join(t.TempDir(), "home")
		h := newHome(dir, slog.New(slog.DiscardHandler))
		if err := h.open([]string{"orders"}); err != nil {
			t.Fatal(err)
		}
		u, err := newUser(&User{Name: "a", Home: dir, MaxFile: 1 << 20, MaxOpenFiles: 8, Folders: []string{"orders"}, AuthorizedKeys: []string{aKey}})
		if err != nil {
			t.Fatal(err)
		}
		u.home = h
		whole := 0
		s := &session{server: New(Options{Arrived: func(string, string) { whole++ }}), user: u, log: slog.New(slog.DiscardHandler)}
		rs := sftp.NewRequestServer(newGate(wire{bytes.NewReader(said), io.Discard}), s.handlers(), sftp.WithRSAllocator())
		_ = rs.Serve()
		if s.busy() || u.files != 0 {
			t.Errorf("%d uploads and %d files are open after the end", s.writing, u.files)
		}
		es, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			if e.Type()&os.ModeSymlink != 0 {
				t.Errorf("%s is a link", e.Name())
			}
		}
		in, err := os.ReadDir(filepath.Join(dir, "orders"))
		if err != nil {
			t.Fatal(err)
		}
		files := 0
		for _, e := range in {
			if strings.HasPrefix(strings.ToLower(e.Name()), ".ingestd") {
				t.Errorf("%s was made", e.Name())
			}
			if e.Type().IsRegular() {
				files++
			}
		}
		if files > whole {
			t.Errorf("%d files stand there, %d were whole", files, whole)
		}
	})
}

const aKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC2p3pvfTxxx0VtA8wpUnx6QzPpEYSaMhEkZUn3tnjt8"
