package sftpdrop

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/pkg/sftp"
)

// TestGuessedHandles has clients use handles before, while and after they are
// made, with packets of all kinds. The race detector judges, and whether all
// comes to its end.
func TestGuessedHandles(t *testing.T) {
	t.Parallel()
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
	names := []string{"/orders/a", "b", "/", "orders", "../x", "/orders/../b", ".ingestd"}
	rnd := rand.New(rand.NewPCG(3, 4))
	name := func() string { return names[rnd.IntN(len(names))] }
	handle := func() string { return string(rune('1' + rnd.IntN(3))) }
	kinds := []func() []byte{
		func() []byte { return packet(packetOpen, 1, name(), rnd.IntN(64), 0) },
		func() []byte { return packet(packetOpen, 1, name(), 0x1a, 0) },
		func() []byte { return packet(packetOpendir, 1, name()) },
		func() []byte { return packet(4, 1, handle()) },
		func() []byte { return packet(6, 1, handle(), int64(rnd.IntN(20)), "datadata") },
		func() []byte { return packet(5, 1, handle(), int64(rnd.IntN(20)), 1<<rnd.IntN(31)) },
		func() []byte { return packet(12, 1, handle()) },
		func() []byte { return packet(18, 1, name(), name()) },
		func() []byte {
			return packet(10, 1, handle(), rnd.IntN(16), []byte{0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4})
		},
		func() []byte { return packet(byte(rnd.IntN(30)), 1, name(), rnd.IntN(16), []byte{1, 2, 3, 4, 5, 6}) },
		func() []byte { return packet(200, 1, "posix-rename@openssh.com", name(), name()) },
	}
	for range 500 {
		said := packet(1, 3)
		for range 1 + rnd.IntN(12) {
			p := kinds[rnd.IntN(len(kinds))]()
			if rnd.IntN(20) == 0 {
				p[5+rnd.IntN(len(p)-5)] ^= byte(rnd.IntN(256))
			}
			said = append(said, p...)
		}
		s := &session{server: New(Options{}), user: u, log: slog.New(slog.DiscardHandler)}
		rs := sftp.NewRequestServer(newGate(wire{bytes.NewReader(said), io.Discard}), s.handlers(), sftp.WithRSAllocator())
		_ = rs.Serve()
		if s.busy() || u.files != 0 {
			t.Fatalf("%d files are open after %x", u.files, said)
		}
	}
}

func TestFrames(t *testing.T) {
	var all []byte
	for i := range 100 {
		all = append(all, packet(byte(i), string(make([]byte, i*3)))...)
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	var f frames
	n := 0
	for len(all) > 0 {
		c := min(len(all), rnd.IntN(40))
		n += f.ended(all[:c])
		all = all[c:]
	}
	if n != 100 {
		t.Errorf("%d packets", n)
	}
}
