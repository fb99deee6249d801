package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/ingest/journal"
)

// counter gives numbers that rise.
func counter(from int64) func(context.Context) (int64, error) {
	return func(context.Context) (int64, error) {
		from++
		return from, nil
	}
}

func none(int64) bool { return false }

// put appends one event.
func put(ctx context.Context, j *journal.Journal, head, body []byte) (journal.Ref, error) {
	refs, err := j.Append(ctx, journal.Event{Head: head, Body: body})
	if err != nil {
		return journal.Ref{}, err
	}
	return refs[0], nil
}

func open(t *testing.T, o journal.Options, known func(int64) bool) *journal.Journal {
	t.Helper()
	j, err := journal.Open(o, known)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// read returns the heads and bodies of a segment, and how it ends.
func read(t *testing.T, path string) (out []string, end error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := journal.NewReader(f)
	for {
		e, err := r.Next()
		if err != nil {
			return out, err
		}
		if e.Index != len(out)+1 {
			t.Fatalf("%s: event %d follows event %d", path, e.Index, len(out))
		}
		out = append(out, string(e.Head)+"|"+string(e.Body))
	}
}

func TestEventsAreReadAsTheyWereAppended(t *testing.T) {
	dir := t.TempDir()
	j := open(t, journal.Options{Dir: dir, Reserve: counter(40), MaxEvents: 64}, none)
	const senders, each = 16, 20
	refs := make(map[string]journal.Ref)
	var mu sync.Mutex
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range each {
				body := fmt.Sprintf("%d/%d %s", s, i, strings.Repeat("x", i*100))
				ref, err := put(t.Context(), j, []byte(`{"s":`+strconv.Itoa(s)+`}`), []byte(body))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				refs[body] = ref
				mu.Unlock()
			}
		})
	}
	all.Wait()
	got := map[string]journal.Ref{}
	for seen := 0; seen < senders*each; {
		s, err := j.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		events, end := read(t, s.Path)
		if end != io.EOF || len(events) != s.Events {
			t.Fatalf("segment %d: %d events, want %d (%v)", s.Number, len(events), s.Events, end)
		}
		if st, err := os.Stat(s.Path); err != nil || st.Size() != s.Size {
			t.Fatalf("segment %d: size %v, want %d (%v)", s.Number, st.Size(), s.Size, err)
		}
		for i, e := range events {
			_, body, _ := strings.Cut(e, "|")
			got[body] = journal.Ref{Segment: s.Number, Index: i + 1}
		}
		seen += len(events)
		j.Release(s.Number)
	}
	if len(got) != len(refs) {
		t.Fatalf("%d events read, %d appended", len(got), len(refs))
	}
	for body, ref := range refs {
		if got[body] != ref {
			t.Errorf("event %q is %v, was told %v", body[:8], got[body], ref)
		}
	}
	if n := j.Waiting(); n != 0 {
		t.Errorf("%d bytes wait, though all were released", n)
	}
}

func TestTakeWaitsForEvents(t *testing.T) {
	j := open(t, journal.Options{Dir: t.TempDir(), Reserve: counter(0)}, none)
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if s, err := j.Take(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("took %v, %v from an empty journal", s, err)
	}
	taken := make(chan journal.Segment)
	go func() {
		s, _ := j.Take(t.Context())
		taken <- s
	}()
	ref, err := put(t.Context(), j, nil, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if s := <-taken; s.Number != ref.Segment || s.Events != 1 {
		t.Fatalf("took %+v, want segment %d", s, ref.Segment)
	}
	// What comes after a take is in another segment.
	if next, err := put(t.Context(), j, nil, []byte("b")); err != nil || next.Segment == ref.Segment {
		t.Fatalf("appended to %v behind a take of %v (%v)", next, ref, err)
	}
	if s, ok, err := j.TryTake(t.Context()); !ok || err != nil || s.Events != 1 {
		t.Fatalf("%+v, %v, %v", s, ok, err)
	}
	if s, ok, err := j.TryTake(t.Context()); ok || err != nil {
		t.Fatalf("took %+v (%v), though there is nothing", s, err)
	}
}

// TestGather: events wait for each other until there are enough, or the first
// has waited long enough.
func TestGather(t *testing.T) {
	j := open(t, journal.Options{Dir: t.TempDir(), Reserve: counter(0)}, none)
	gathered := make(chan error, 1)
	gather := func(wait time.Duration, most int) { go func() { gathered <- j.Gather(t.Context(), wait, most) }() }
	gather(time.Hour, 3)
	for range 3 {
		select {
		case err := <-gathered:
			t.Fatalf("gathered (%v) before there were three", err)
		default:
		}
		if _, err := put(t.Context(), j, nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-gathered; err != nil {
		t.Fatal(err)
	}
	if s, err := j.Take(t.Context()); err != nil || s.Events != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	gather(time.Millisecond, 3)
	if _, err := put(t.Context(), j, nil, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-gathered; err != nil {
		t.Fatal(err)
	}
	if s, ok, err := j.TryTake(t.Context()); err != nil || !ok || s.Events != 1 {
		t.Fatalf("%+v, %v, %v", s, ok, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := j.Gather(ctx, time.Hour, 3); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestFullAndClosed(t *testing.T) {
	j := open(t, journal.Options{Dir: t.TempDir(), Reserve: counter(0), MaxWaiting: 3000}, none)
	body := make([]byte, 980)
	for i := range 3 {
		if _, err := put(t.Context(), j, nil, body); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	if _, err := put(t.Context(), j, nil, body); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("error %v, want %v", err, journal.ErrFull)
	}
	s, err := j.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(t.Context(), j, nil, body); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("error %v for what was only taken, want %v", err, journal.ErrFull)
	}
	j.Release(s.Number)
	if _, err := put(t.Context(), j, nil, body); err != nil {
		t.Fatal(err)
	}
	var large *journal.TooLargeError
	if _, err := put(t.Context(), j, make([]byte, journal.MaxHead+1), nil); !errors.As(err, &large) {
		t.Fatalf("error %v for a head that is too large", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t.Context(), j, nil, body); !errors.Is(err, journal.ErrClosed) {
		t.Fatalf("error %v, want %v", err, journal.ErrClosed)
	}
}

// TestReserveFails: what was not stored is not told of, and the next one is.
func TestReserveFails(t *testing.T) {
	down := true
	j := open(t, journal.Options{Dir: t.TempDir(), Reserve: func(context.Context) (int64, error) {
		if down {
			return 0, errors.New("the ledger is away")
		}
		return 7, nil
	}}, none)
	if ref, err := put(t.Context(), j, nil, []byte("a")); err == nil {
		t.Fatalf("appended as %v without a number", ref)
	}
	down = false
	if ref, err := put(t.Context(), j, nil, []byte("b")); err != nil || ref.String() != "7.1" {
		t.Fatalf("%v, %v", ref, err)
	}
}

// TestTornTails cuts a segment at every byte: what is whole before the cut is
// read, nothing behind it, and Open mends the file.
func TestTornTails(t *testing.T) {
	dir := t.TempDir()
	j := open(t, journal.Options{Dir: dir, Reserve: counter(0)}, none)
	var want []string
	ends := []int64{17}
	for i := range 3 {
		head, body := fmt.Sprintf("h%d", i), strings.Repeat("b", i*5)
		if _, err := put(t.Context(), j, []byte(head), []byte(body)); err != nil {
			t.Fatal(err)
		}
		want = append(want, head+"|"+body)
		ends = append(ends, ends[i]+12+int64(len(head)+len(body)))
	}
	j.Close()
	whole, err := os.ReadFile(journal.Path(dir, 1))
	if err != nil || int64(len(whole)) != ends[3] {
		t.Fatalf("%d bytes, want %d (%v)", len(whole), ends[3], err)
	}
	for cut := range len(whole) {
		for _, tail := range []string{"", "\x00\x00\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
			d := t.TempDir()
			if err := os.WriteFile(journal.Path(d, 1), append(bytes.Clone(whole[:cut]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			n := 0
			for n < 3 && ends[n+1] <= int64(cut) {
				n++
			}
			again := open(t, journal.Options{Dir: d, Reserve: counter(1)}, none)
			s, ok, err := again.TryTake(t.Context())
			if err != nil || ok != (n > 0) {
				t.Fatalf("cut at %d: took %v, %v; want %d events", cut, ok, err, n)
			}
			if !ok {
				if left, _ := journal.Segments(d); len(left) > 0 {
					t.Fatalf("cut at %d: an empty segment stays", cut)
				}
				continue
			}
			got, end := read(t, s.Path)
			if end != io.EOF || fmt.Sprint(got) != fmt.Sprint(want[:n]) || s.Events != n {
				t.Fatalf("cut at %d: read %q, %v; want %q", cut, got, end, want[:n])
			}
		}
	}
}

// TestEventsOfOneRequest are there all or not at all.
func TestEventsOfOneRequest(t *testing.T) {
	dir := t.TempDir()
	j := open(t, journal.Options{Dir: dir, Reserve: counter(0)}, none)
	if _, err := put(t.Context(), j, nil, []byte("before")); err != nil {
		t.Fatal(err)
	}
	refs, err := j.Append(t.Context(), journal.Event{Body: []byte("one")}, journal.Event{Body: []byte("two")}, journal.Event{Body: []byte("three")})
	if err != nil || fmt.Sprint(refs) != "[1.2 1.3 1.4]" {
		t.Fatalf("%v, %v", refs, err)
	}
	j.Close()
	whole, err := os.ReadFile(journal.Path(dir, 1))
	if err != nil {
		t.Fatal(err)
	}
	for cut := 17; cut <= len(whole); cut++ {
		d := t.TempDir()
		if err := os.WriteFile(journal.Path(d, 1), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s, ok, err := open(t, journal.Options{Dir: d, Reserve: counter(1)}, none).TryTake(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Events; ok != (n > 0) || n != 0 && n != 1 && n != 4 || n == 4 != (cut == len(whole)) {
			t.Fatalf("cut at %d of %d: %d events", cut, len(whole), n)
		}
	}
}

func TestKnownSegmentsAreNotTakenAgain(t *testing.T) {
	dir := t.TempDir()
	j := open(t, journal.Options{Dir: dir, Reserve: counter(0)}, none)
	for range 3 {
		if _, err := put(t.Context(), j, nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	again := open(t, journal.Options{Dir: dir, Reserve: counter(3)}, func(n int64) bool { return n == 2 })
	var got []int64
	for {
		s, ok, err := again.TryTake(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		got = append(got, s.Number)
	}
	if fmt.Sprint(got) != "[1 3]" {
		t.Fatalf("took %v, want [1 3]", got)
	}
}

// TestKill kills a process that appends: every event that it was told of is
// there afterwards.
func TestKill(t *testing.T) {
	if dir := os.Getenv("JOURNAL_KILL_DIR"); dir != "" {
		appendForEver(dir)
		return
	}
	dir := t.TempDir()
	for round := range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestKill$")
		cmd.Env = append(os.Environ(), "JOURNAL_KILL_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		told := make([]byte, 0, 1<<16)
		buf := make([]byte, 4096)
		for len(told) < 3000+rand.IntN(3000) {
			n, err := out.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, buf[:n]...)
		}
		cmd.Process.Kill()
		rest, _ := io.ReadAll(out)
		told = append(told, rest...)
		cmd.Wait()
		there := map[string]bool{}
		j, err := journal.Open(journal.Options{Dir: dir, Reserve: counter(int64(round+1) << 32)}, none)
		if err != nil {
			t.Fatal(err)
		}
		j.Close()
		segments, err := journal.Segments(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range segments {
			events, end := read(t, journal.Path(dir, n))
			if end != io.EOF {
				t.Fatalf("segment %d: %v", n, end)
			}
			for i, e := range events {
				there[fmt.Sprintf("%d.%d %s", n, i+1, strings.TrimPrefix(e, "|"))] = true
			}
		}
		lines := strings.Split(string(told), "\n")
		for _, l := range lines[:len(lines)-1] {
			if !there[l] {
				t.Fatalf("round %d: %q was answered and is not there", round, l)
			}
		}
		t.Logf("round %d: %d answered, %d there", round, len(lines)-1, len(there))
	}
}

func appendForEver(dir string) {
	j, err := journal.Open(journal.Options{Dir: dir, MaxEvents: 50, Reserve: counter(time.Now().UnixNano())}, none)
	if err != nil {
		panic(err)
	}
	var all sync.WaitGroup
	for s := range 8 {
		all.Go(func() {
			for i := 0; ; i++ {
				body := fmt.Sprintf("%d-%d", s, i)
				ref, err := put(context.Background(), j, nil, []byte(body))
				if err != nil {
					panic(err)
				}
				os.Stdout.WriteString(ref.String() + " " + body + "\n")
			}
		})
	}
	all.Wait()
}

// TestFullDisk fills a small file system: what was answered is whole, what was
// not is not there, and events go on once there is space.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small file system here: %s", out)
	}
	t.Cleanup(func() { exec.Command("umount", dir).Run() })
	j := open(t, journal.Options{Dir: dir, Reserve: counter(0)}, none)
	var good []string
	body := strings.Repeat("y", 10_000)
	for i := range 100 {
		if _, err := put(t.Context(), j, []byte(strconv.Itoa(i)), []byte(body)); err != nil {
			break
		}
		good = append(good, strconv.Itoa(i)+"|"+body)
	}
	if len(good) < 10 || len(good) == 100 {
		t.Fatalf("%d events fit into 256 KiB", len(good))
	}
	if _, err := put(t.Context(), j, []byte("no"), []byte(body)); err == nil {
		t.Fatal("an event was stored on a full disk")
	}
	s, ok, err := j.TryTake(t.Context())
	if err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	if got, end := read(t, s.Path); end != io.EOF || fmt.Sprint(got) != fmt.Sprint(good) {
		t.Fatalf("%d events, want %d (%v)", len(got), len(good), end)
	}
	if err := os.Remove(s.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t.Context(), j, []byte("yes"), []byte(body)); err != nil {
		t.Fatalf("there is space again: %v", err)
	}
}

// FuzzReader: no bytes make the reader panic, take memory that they do not
// have, or find an event behind a damaged one.
func FuzzReader(f *testing.F) {
	f.Add([]byte("ingestd events 1\n"))
	f.Add([]byte("ingestd events 1\n\x01\x00\x00\x00\xff\xff\xff\x0f____x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := journal.NewReader(bytes.NewReader(b))
		n := 0
		for {
			e, err := r.Next()
			if err != nil {
				if _, again := r.Next(); again != err {
					t.Fatalf("%v, then %v", err, again)
				}
				break
			}
			n += 12 + len(e.Head) + len(e.Body)
		}
		if n > len(b) {
			t.Fatalf("%d bytes of events in %d", n, len(b))
		}
	})
}

// BenchmarkAppend is what a receiver pays for an event of 1 KB that is on disk,
// by how many senders there are.
func BenchmarkAppend(b *testing.B) {
	for _, senders := range []int{1, 8, 64} {
		b.Run(strconv.Itoa(senders), func(b *testing.B) {
			j, err := journal.Open(journal.Options{Dir: b.TempDir(), Reserve: counter(0), MaxWaiting: 1 << 40}, none)
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			body := make([]byte, 1000)
			each := func() {
				if _, err := put(context.Background(), j, body[:200], body); err != nil {
					b.Error(err)
				}
			}
			if senders == 1 {
				for b.Loop() {
					each()
				}
				return
			}
			b.SetParallelism(senders / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					each()
				}
			})
		})
	}
}

// TestAppendAlone: each event is a segment of its own, sealed at once, beside
// those that share one; all are taken once, also after a restart.
func TestAppendAlone(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	number := int64(0)
	o := journal.Options{Dir: dir, MaxWaiting: 400, Reserve: func(context.Context) (int64, error) {
		mu.Lock()
		defer mu.Unlock()
		number++
		return number, nil
	}}
	j := open(t, o, none)
	if _, err := put(t.Context(), j, []byte("h"), []byte("shared")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	refs := make([]journal.Ref, 4)
	errs := make([]error, len(refs))
	for i := range refs {
		wg.Go(func() {
			refs[i], errs[i] = j.AppendAlone(t.Context(), journal.Event{Head: []byte("h"), Body: []byte("alone")})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	seen := map[int64]bool{}
	for _, r := range refs {
		if seen[r.Segment] || r.Index != 1 {
			t.Errorf("an event alone is %v", r)
		}
		seen[r.Segment] = true
	}
	if stored, err := j.Stored(); err != nil || len(stored) != len(refs) {
		t.Errorf("stored: %v, %v", stored, err)
	}
	s, err := j.Take(t.Context())
	if err != nil || s.Events != 1 || !seen[s.Number] {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := j.AppendAlone(t.Context(), journal.Event{Body: make([]byte, 400)}); !errors.Is(err, journal.ErrFull) {
		t.Errorf("error %v, want %v", err, journal.ErrFull)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.AppendAlone(t.Context(), journal.Event{Body: []byte("x")}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("error %v, want %v", err, journal.ErrClosed)
	}
	again := open(t, o, func(n int64) bool { return n == s.Number })
	for range len(refs) { // the three that are left, and the shared one
		if _, ok, err := again.TryTake(t.Context()); !ok || err != nil {
			t.Fatalf("taken: %t, %v", ok, err)
		}
	}
	if _, ok, err := again.TryTake(t.Context()); ok || err != nil {
		t.Errorf("one too many: %v", err)
	}
}
