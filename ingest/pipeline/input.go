package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"ingestd/ingest"
)

// A changedError says that a file is not the one that was taken up.
type changedError struct {
	name string
	what string
}

func (e *changedError) Error() string {
	return fmt.Sprintf("%q changed %s: it was not whole", e.name, e.what)
}

// An input is an arrival's open file, hashed while it is read.
type input struct {
	f      *os.File
	a      *ingest.Arrival
	hash   hash.Hash
	hashed int64 // bytes hashed, from the start
}

// openInput opens the very file that was taken up; a symbolic link is refused.
func openInput(a *ingest.Arrival) (*input, error) {
	f, err := os.OpenFile(a.Path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open arrival %d: %w", a.ID, err)
	}
	in := &input{f: f, a: a, hash: sha256.New()}
	if err := in.same("since it was taken up"); err != nil {
		f.Close()
		return nil, err
	}
	return in, nil
}

// same compares the file with what was taken up.
func (in *input) same(when string) error {
	st, err := in.f.Stat()
	if err != nil {
		return fmt.Errorf("look at arrival %d: %w", in.a.ID, err)
	}
	if !st.Mode().IsRegular() {
		return &changedError{in.a.Name, when + " (it is no regular file)"}
	}
	if st.Size() != in.a.Size {
		return &changedError{in.a.Name, fmt.Sprintf("%s (%d bytes, then %d)", when, in.a.Size, st.Size())}
	}
	if !in.a.ModTime.IsZero() && !st.ModTime().Equal(in.a.ModTime) {
		return &changedError{in.a.Name, fmt.Sprintf("%s (modified %s, then %s)", when,
			in.a.ModTime.UTC().Format(time.RFC3339Nano), st.ModTime().UTC().Format(time.RFC3339Nano))}
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && in.a.Inode != 0 && sys.Ino != in.a.Inode {
		return &changedError{in.a.Name, when + " (another file stands in its place)"}
	}
	return nil
}

// ReadAt implements io.ReaderAt. Bytes that are read in order are hashed in
// passing.
func (in *input) ReadAt(p []byte, off int64) (int, error) {
	n, err := in.f.ReadAt(p, off)
	if end := off + int64(n); off <= in.hashed && end > in.hashed {
		in.hash.Write(p[in.hashed-off : n])
		in.hashed = end
	}
	return n, err
}

// copies are buffers for hashing, used again.
var copies = sync.Pool{New: func() any { return new([1 << 16]byte) }}

// sum hashes what was not read yet and returns the file's SHA-256.
func (in *input) sum(ctx context.Context) ([]byte, error) {
	buf := copies.Get().(*[1 << 16]byte)
	defer copies.Put(buf)
	for in.hashed < in.a.Size {
		if ctx.Err() != nil {
			return nil, brokenOff{context.Cause(ctx)}
		}
		n, err := in.f.ReadAt(buf[:min(int64(len(buf)), in.a.Size-in.hashed)], in.hashed)
		in.hash.Write(buf[:n])
		in.hashed += int64(n)
		if err == io.EOF && in.hashed < in.a.Size {
			return nil, &changedError{in.a.Name, "while it was hashed (it is shorter)"}
		}
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("hash arrival %d: %w", in.a.ID, err)
		}
	}
	return in.hash.Sum(nil), nil
}

// hashOf is the SHA-256 of an arrival's file.
func hashOf(ctx context.Context, a *ingest.Arrival) ([]byte, error) {
	in, err := openInput(a)
	if err != nil {
		return nil, err
	}
	defer in.f.Close()
	return in.sum(ctx)
}

// gone reports whether an arrival's file will not come back: the arrival fails.
func gone(err error) bool {
	var ch *changedError
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, &ch) || errors.Is(err, syscall.ELOOP)
}
