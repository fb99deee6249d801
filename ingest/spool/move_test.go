package spool_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/ingest/spool"
)

func idOf(t *testing.T, path string) spool.ID {
	t.Helper()
	info, err := spool.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ID
}

func missing(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, want it gone", path, err)
	}
}

// otherFilesystem returns a directory on another filesystem than t.TempDir.
func otherFilesystem(t *testing.T) string {
	t.Helper()
	here := idOf(t, t.TempDir())
	dir, err := os.MkdirTemp("/dev/shm", "ingestd-test-")
	if err != nil {
		t.Skipf("no second filesystem: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if idOf(t, dir).Device == here.Device {
		t.Skip("no second filesystem")
	}
	return dir
}

func TestMove(t *testing.T) {
	for _, across := range []bool{false, true} {
		t.Run(fmt.Sprintf("across=%v", across), func(t *testing.T) {
			from, to := t.TempDir(), t.TempDir()
			if across {
				to = otherFilesystem(t)
			}
			dst := filepath.Join(to, "a", "b", "x.csv.gz")
			for i, want := range []string{"x.csv.gz", "x-1.csv.gz", "x-2.csv.gz", "x-3.csv.gz"} {
				src := filepath.Join(from, "x.csv.gz")
				content := fmt.Sprint(i)
				write(t, src, []byte(content))
				before := idOf(t, src)
				final, err := spool.Move(src, dst)
				if err != nil || filepath.Base(final) != want {
					t.Fatalf("%s, %v; want %s", final, err, want)
				}
				missing(t, src)
				if string(read(t, final)) != content {
					t.Errorf("%s holds %q", final, read(t, final))
				}
				if after := idOf(t, final); !after.ModTime.Equal(before.ModTime) {
					t.Errorf("mtime %v became %v", before.ModTime, after.ModTime)
				}
			}
			if names := list(t, filepath.Dir(dst)); len(names) != 4 {
				t.Errorf("there are %q", names)
			}
			if _, err := spool.Move(filepath.Join(from, "none"), dst); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("moving nothing: %v", err)
			}
		})
	}
}

// A move may be broken off anywhere and done again, and is done once.
func TestMoveOnlyAgain(t *testing.T) {
	shm := otherFilesystem(t)
	newPair := func(t *testing.T, to string) (src, dst string, id spool.ID) {
		src = filepath.Join(t.TempDir(), "x.csv")
		write(t, src, []byte("content"))
		return src, filepath.Join(to, t.Name(), "x.csv"), idOf(t, src)
	}
	once := func(t *testing.T, src, dst string, id spool.ID) {
		t.Helper()
		for range 2 {
			if final, err := spool.MoveOnly(src, dst, id); err != nil || final != dst {
				t.Fatalf("%s, %v; want %s", final, err, dst)
			}
		}
		missing(t, src)
		if names := list(t, filepath.Dir(dst)); len(names) != 1 || string(read(t, dst)) != "content" {
			t.Errorf("there are %q", names)
		}
	}
	t.Run("whole", func(t *testing.T) {
		src, dst, id := newPair(t, t.TempDir())
		once(t, src, dst, id)
	})
	t.Run("between link and unlink", func(t *testing.T) {
		src, dst, id := newPair(t, t.TempDir())
		os.MkdirAll(filepath.Dir(dst), 0o755)
		if err := os.Link(src, dst); err != nil {
			t.Fatal(err)
		}
		once(t, src, dst, id)
	})
	t.Run("across", func(t *testing.T) {
		src, dst, id := newPair(t, shm)
		once(t, src, dst, id)
	})
	t.Run("across, between copy and unlink", func(t *testing.T) {
		src, dst, id := newPair(t, shm)
		os.MkdirAll(filepath.Dir(dst), 0o755)
		write(t, dst, []byte("content"))
		os.Chtimes(dst, id.ModTime, id.ModTime)
		once(t, src, dst, id)
	})
	t.Run("across, in the middle of the copy", func(t *testing.T) {
		src, dst, id := newPair(t, shm)
		os.MkdirAll(filepath.Dir(dst), 0o755)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := moveAt(t, ctx, src, dst, id); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if names := list(t, filepath.Dir(dst)); len(names) != 0 {
			t.Fatalf("left: %q", names)
		}
		once(t, src, dst, id)
	})
	t.Run("across, another file of that size and time", func(t *testing.T) {
		src, dst, id := newPair(t, shm)
		os.MkdirAll(filepath.Dir(dst), 0o755)
		write(t, dst, []byte("CONTENT"))
		os.Chtimes(dst, id.ModTime, id.ModTime)
		final, err := spool.MoveOnly(src, dst, id)
		if err != nil || filepath.Base(final) != "x-1.csv" || string(read(t, dst)) != "CONTENT" {
			t.Errorf("%s, %v", final, err)
		}
	})
}

func moveAt(t *testing.T, ctx context.Context, src, dst string, id spool.ID) error {
	t.Helper()
	from, err := spool.OpenDir(filepath.Dir(src))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := spool.OpenDir(filepath.Dir(dst))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	_, err = spool.MoveAt(ctx, from, filepath.Base(src), to, filepath.Base(dst), id)
	return err
}

func TestMoveOnlyThatFile(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "x"), filepath.Join(dir, "done", "x")
	write(t, src, []byte("one"))
	id := idOf(t, src)
	later := id
	later.ModTime = later.ModTime.Add(time.Second)
	other := id
	other.Inode++
	longer := id
	longer.Size++
	for _, want := range []spool.ID{later, other, longer} {
		if _, err := spool.MoveOnly(src, dst, want); !errors.Is(err, spool.ErrOther) {
			t.Errorf("got %v", err)
		}
	}
	if string(read(t, src)) != "one" {
		t.Error("it was touched")
	}
	os.Remove(src)
	os.Symlink("/etc/passwd", src)
	if _, err := spool.Move(src, dst); !errors.Is(err, spool.ErrIrregular) {
		t.Errorf("moving a link: %v", err)
	}
	missing(t, dst)
}

// Many at once want one name: all get one, none is overwritten.
func TestMoveRace(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	const n = 40
	var wg sync.WaitGroup
	for i := range n {
		src := filepath.Join(from, fmt.Sprint(i))
		write(t, src, []byte(fmt.Sprint(i)))
		wg.Go(func() {
			if _, err := spool.Move(src, filepath.Join(to, "same.csv")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, name := range list(t, to) {
		seen[string(read(t, filepath.Join(to, name)))] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d files are there", len(seen), n)
	}
}

func TestNumbered(t *testing.T) {
	long := strings.Repeat("n", 255-4) + ".csv"
	tests := []struct {
		name string
		n    int
		want string
	}{
		{"a.csv", 0, "a.csv"},
		{"a.csv", 12, "a-12.csv"},
		{"a.b.csv", 1, "a.b-1.csv"},
		{"a.csv.GZ", 1, "a-1.csv.GZ"},
		{"a.gz", 1, "a-1.gz"},
		{"plain", 1, "plain-1"},
		{".env", 1, ".env-1"},
		{".csv.gz", 1, ".csv.gz-1"},
		{"-rf", 1, "-rf-1"},
		{"a\xff\n.csv", 1, "a\xff\n-1.csv"},
		{long, 0, long},
		{long, 1, strings.Repeat("n", 255-6) + "-1.csv"},
		{strings.Repeat("n", 250) + strings.Repeat("x", 60) + ".csv", 0, strings.Repeat("n", 250) + "x.csv"},
		{strings.Repeat("€", 85), 1, strings.Repeat("€", 84) + "-1"},
		{strings.Repeat("\xff", 300), 1, strings.Repeat("\xff", 253) + "-1"},
		{strings.Repeat("\x80", 300), 1, strings.Repeat("\x80", 253) + "-1"},
		{"a." + strings.Repeat("e", 253), 1, "a." + strings.Repeat("e", 251) + "-1"},
	}
	for _, tt := range tests {
		if got := spool.Numbered(tt.name, tt.n); got != tt.want || len(got) > spool.MaxName {
			t.Errorf("Numbered(%q, %d) = %q, want %q", tt.name, tt.n, got, tt.want)
		}
	}
}

func TestFreeName(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 7, 1000, 1_000_000} {
		used := map[string]bool{}
		if n < 10_000 {
			for i := range n {
				used[spool.Numbered("a.csv", i)] = true
			}
		}
		asked := 0
		got, err := spool.FreeName("a.csv", func(name string) (bool, error) {
			asked++
			if n < 10_000 {
				return used[name], nil
			}
			var i int
			fmt.Sscanf(name, "a-%d.csv", &i)
			return i < n, nil
		})
		if want := spool.Numbered("a.csv", n); got != want || err != nil || asked > 45 {
			t.Errorf("%d taken: %q after %d questions, %v; want %q", n, got, asked, err, want)
		}
	}
	if _, err := spool.FreeName("a", func(string) (bool, error) { return false, fs.ErrPermission }); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}
