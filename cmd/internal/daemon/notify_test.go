package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
)

// hear is systemd's side of sd_notify(3).
func hear(t *testing.T) (next func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

// The watchdog is told only while the work can be done.
func TestWatchdog(t *testing.T) {
	next := hear(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	ctx, cancel := context.WithCancel(t.Context())
	s := supervisor{slog.New(slog.DiscardHandler)}
	asked, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		s.watchdog(ctx, func(context.Context) error {
			if asked++; asked <= 3 {
				return errors.New("the ledger does not commit")
			}
			return nil
		})
	}()
	if got := next(); got != "WATCHDOG=1" {
		t.Errorf("systemd was told %q", got)
	}
	cancel()
	<-done
	if asked < 4 {
		t.Errorf("systemd was told after %d questions", asked)
	}
}

// A process that waits for its disk says so, and is not killed for it.
func TestRest(t *testing.T) {
	next := hear(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	stop := Rest(t.Context(), slog.New(slog.DiscardHandler), "waiting for the disk")
	defer stop()
	if got := next(); got != "STATUS=waiting for the disk" {
		t.Errorf("systemd was told %q", got)
	}
	if got := next(); got != "WATCHDOG=1" {
		t.Errorf("systemd was told %q", got)
	}
}
