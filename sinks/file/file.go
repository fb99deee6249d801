// Package file is the sink that writes batches into local files.
//
// What it promises:
//
//   - Delivered means on disk: the bytes are written in full and fdatasynced, a
//     new file's directories fsynced, before Send returns nil.
//   - Sending twice writes once. A request has a place in its file that is fixed
//     before it is sent (Place, kept in its claim), and is written there however
//     often it is sent, also after a kill or a power cut in the middle.
//   - The file never has a hole and nobody's bytes are overwritten. A request
//     goes to its place only where the file reaches up to it and nothing but a
//     torn copy of itself stands there. Where that is not so, because somebody
//     rotated, truncated or wrote to the file meanwhile, it goes to the end
//     instead; only if the process dies between that and the settling of the
//     batch can its records be in the file twice.
//   - Requests reach a file in the order of their places: one whose predecessor
//     is on its way waits for it, up to a second.
//   - A path never leaves the directory that the template names, whatever the
//     pipeline and the arrival are called.
//
// One process writes a file. Bodies are NDJSON: every request ends with a line
// end, and one that follows bytes without it begins a new line.
//
// ENOSPC, EIO and their like are plain errors: try again. What only a person can
// change (permissions, a directory where the file should be) is a *ingest.Halt.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"ingestd/ingest"
)

const (
	// maxOpen bounds the files that are kept open though nobody needs them.
	maxOpen = 32
	// orderWait is how long a request waits for the one before it in its file.
	orderWait = time.Second
)

// Options describe where a sink writes.
type Options struct {
	// Path is the file, absolute; it may hold {pipeline}, {date} and {time}
	// (the arrival's, UTC) and {name} (the arrival's name).
	Path string
}

// A Sink writes requests to files. It is safe for concurrent use.
type Sink struct {
	path pathTemplate

	mu    sync.Mutex
	files map[string]*target
}

var (
	_ ingest.Sink   = (*Sink)(nil)
	_ ingest.Placer = (*Sink)(nil)
)

// New checks o. It touches no file.
func New(o Options) (*Sink, error) {
	p, err := parsePath(o.Path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	return &Sink{path: p, files: make(map[string]*target)}, nil
}

// Place fixes where r's body of size bytes will stand: behind all that is in the
// file, and behind the places of requests that are still to be sent.
func (s *Sink) Place(ctx context.Context, r *ingest.Request, size int64) (string, int64, error) {
	if err := ctx.Err(); err != nil {
		return "", 0, err
	}
	path, err := s.path.expand(r)
	if err != nil {
		return "", 0, err
	}
	t := s.use(path)
	defer s.unuse(t)
	at, err := t.place(size)
	if err != nil {
		return "", 0, verdict("place a batch in", path, err)
	}
	return path, at, nil
}

// Resume tells of a place that an unsettled batch has, from at to end, so that
// no other is put there. It is called at start, before the first Place.
func (s *Sink) Resume(path string, at, end int64) {
	t := s.use(path)
	defer s.unuse(t)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending[at] = max(t.pending[at], end)
}

// Send writes r's body at its place and returns once it is on disk.
func (s *Sink) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	if r.PlacePath == "" {
		return ingest.Answer{}, errors.New("file sink: the request has no place")
	}
	t := s.use(r.PlacePath)
	defer s.unuse(t)
	if err := t.write(ctx, r.Body, r.Place); err != nil {
		return ingest.Answer{}, verdict("write", r.PlacePath, err)
	}
	return ingest.Answer{}, nil
}

// Close closes the files that nobody writes to.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, t := range s.files {
		if t.users == 0 {
			errs = append(errs, t.close())
		}
	}
	return errors.Join(errs...)
}

// use returns the target at path, kept until unuse.
func (s *Sink) use(path string) *target {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.files[path]
	if t == nil {
		t = newTarget(path)
		s.files[path] = t
	}
	t.users++
	return t
}

func (s *Sink) unuse(t *target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.users--
	if len(s.files) <= maxOpen {
		return
	}
	for path, t := range s.files {
		if t.users == 0 {
			t.close() // all of it was synced: nothing is lost by an error here
			if !t.awaits() {
				delete(s.files, path)
			}
		}
	}
}

// verdict is err as the sink's answer.
func verdict(op, path string, err error) error {
	err = fmt.Errorf("%s %q: %w", op, path, err)
	for _, e := range []error{
		syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOTDIR, syscall.EISDIR,
		syscall.ELOOP, syscall.ENAMETOOLONG, errNotRegular,
	} {
		if errors.Is(err, e) {
			return &ingest.Halt{Reason: "file sink: " + err.Error()}
		}
	}
	return err
}

var errNotRegular = errors.New("not a regular file")

// errShrunk ends a write whose file somebody made shorter meanwhile.
var errShrunk = errors.New("the file was made shorter while it was written")

var _ io.Closer = (*Sink)(nil)
