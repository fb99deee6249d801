package sftp

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// What counts as progress: answers, and bytes that are more than a trickle.
func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		name   string
		bytes  int // each second
		answer int // a request is answered every so many seconds; 0: never
		idle   bool
		dies   bool
	}{
		{"silence", 0, 0, false, true},
		{"a byte a second", 1, 0, false, true},
		{"60 bytes a second", 60, 0, false, true},
		{"a slow line", 200, 0, false, false},
		{"slow answers", 1, 50, false, false},
		{"answers too slow", 1, 70, false, true},
		{"nobody asks", 0, 0, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				w := newWatch(ours, time.Minute)
				defer w.fail(errClosed)
				done := make(chan struct{})
				go func() {
					defer close(done)
					for buf := make([]byte, 4096); ; {
						if _, err := w.Read(buf); err != nil {
							return
						}
					}
				}()
				if !tt.idle {
					w.begin()
				}
				for s := 1; s <= 300 && w.why() == nil; s++ {
					time.Sleep(time.Second)
					if tt.bytes > 0 {
						theirs.Write(make([]byte, tt.bytes))
					}
					if tt.answer > 0 && s%tt.answer == 0 {
						w.begin()
						w.end()
					}
				}
				if died := w.why() != nil; died != tt.dies {
					t.Errorf("died: %v (%v), want %v", died, w.why(), tt.dies)
				}
				w.fail(errClosed)
				<-done
			})
		})
	}
}

// A server that talks without end before it says anything is given up in time.
func TestEndlessBanner(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		line := append(content(1, 4000), '\n')
		for err == nil {
			_, err = c.Write(line)
		}
	}()
	d, err := newDialer(Server{
		Host: ln.Addr().String(), User: "u", Timeout: 500 * time.Millisecond, Auth: Auth{Agent: "/none"},
		Pins: Pins{File: "/none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.server.ways.agent = ""
	if _, err := d.connect(t.Context()); err == nil {
		t.Error("there is a connection")
	}
	ln.Close()
	<-done
}

// With a schedule nothing is listed at the start, unless a time was missed.
func TestFirstListing(t *testing.T) {
	now := time.Now()
	hourly := func(after time.Time) time.Time { return after.Truncate(time.Hour).Add(time.Hour) }
	s := &Source{o: Options{Poll: time.Minute}}
	if got := s.firstListing(now); !got.Equal(now) {
		t.Errorf("poll: first at %v, want now", got)
	}
	s.o.Next = hourly
	if got := s.firstListing(now); !got.Equal(hourly(now)) {
		t.Errorf("schedule: first at %v, want %v", got, hourly(now))
	}
	r := newFake(t, nil).rig(t, func(o *Options) {
		o.Next, o.Stamp = hourly, t.TempDir()+"/stamp"
	})
	if err := r.sweep(); err != nil { // leaves its stamp
		t.Fatal(err)
	}
	if got := r.src.firstListing(now); !got.Equal(hourly(now)) {
		t.Errorf("after a listing: first at %v, want %v", got, hourly(now))
	}
	if got := r.src.firstListing(now.Add(2 * time.Hour)); !got.Before(now.Add(2 * time.Hour)) {
		t.Errorf("after a missed time: first at %v, want at once", got)
	}
	s.o.Next = func(time.Time) time.Time { return time.Time{} }
	if got := s.following(now); got.Before(now.AddDate(1, 0, 0)) {
		t.Errorf("never again: %v", got)
	}
}
