package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"

	"github.com/pkg/sftp"
)

const (
	// chunk is what one READ asks for: every server answers 32 KiB, not all more.
	chunk = 32 << 10
	// ahead is how many READs of a file are under way: 2 MiB, the window of an
	// SSH channel.
	ahead = 64
	// worthwhile is how much of a file must be there to be gone on with.
	worthwhile = 1 << 20
	// flushEvery is how much of a file comes until it is brought to disk, beside
	// the fetch, so that its end need not wait for all of it.
	flushEvery = 32 << 20
	// maxPartials bounds the files that are kept so: a server may break off at
	// each that it has.
	maxPartials = 16
)

// Why a file was not fetched, beside what the server refuses.
var (
	errGone = errors.New("is gone")
)

// A changedError says that a file is another one, or in another state, now.
type changedError struct{ now source.Entry }

func (e *changedError) Error() string { return "has changed since it was looked at" }

// A sizeError says that a server's bytes are not as many as it says.
type sizeError struct{ got, want int64 }

func (e *sizeError) Error() string {
	if e.got > e.want {
		return fmt.Sprintf("has more bytes than the %d that the server says", e.want)
	}
	return fmt.Sprintf("ends after %d of the %d bytes that the server says", e.got, e.want)
}

// A localError is trouble on this side: the spool's.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// A partial is what there is of a file whose fetch broke off.
type partial struct {
	e       source.Entry
	w       *spool.Writer
	through int64 // all bytes before it are there
}

// partials are by name. They are for the goroutine that runs the pass.
type partials map[string]*partial

// take returns what there is of e, if it is of the same file.
func (ps partials) take(e *source.Entry) *partial {
	p := ps[e.Name]
	delete(ps, e.Name)
	if p != nil && !p.e.Same(e) {
		p.w.Abort()
		return nil
	}
	return p
}

// keep keeps a partial for the next try, where that is worth it.
func (ps partials) keep(p *partial) {
	if p == nil {
		return
	}
	if p.through < worthwhile || len(ps) >= maxPartials {
		p.w.Abort()
		return
	}
	ps[p.e.Name] = p
}

func (ps partials) drop(name string) {
	if p := ps[name]; p != nil {
		delete(ps, name)
		p.w.Abort()
	}
}

func (ps partials) clear() {
	for name := range ps {
		ps.drop(name)
	}
}

// A fetch is one file on its way.
type fetch struct {
	s     *Source
	c     *conn
	e     source.Entry
	part  *partial
	found *ingest.Found
}

// run fetches the file, holds it to its proof and makes it ours. What was fetched
// of it before an error is in f.part.
func (f *fetch) run(ctx context.Context) error {
	stop := f.c.bind(ctx)
	defer stop()
	if err := f.bring(ctx); err != nil {
		return err
	}
	if err := f.prove(ctx); err != nil {
		return err
	}
	return f.commit()
}

// bring brings the file into f.part, and makes sure that it was the same before
// and after.
func (f *fetch) bring(ctx context.Context) error {
	if err := f.same(); err != nil {
		return err
	}
	var have int64
	if f.part != nil {
		have = f.part.through
	}
	if room := f.s.o.Room; room != nil {
		if err := room(f.e.Size - have); err != nil {
			return &localError{err}
		}
	}
	var file *sftp.File
	if err := f.c.ask("open", func() (err error) {
		file, err = f.c.Open(f.s.remote(f.e.Name))
		return err
	}); err != nil {
		return err
	}
	err := f.read(ctx, file)
	if err != nil {
		f.c.ask("close", file.Close)
		return err
	}
	// Both at once: for small files the way to the server is all that costs.
	var closing sync.WaitGroup
	closing.Go(func() { err = f.c.ask("close", file.Close) })
	same := f.same()
	closing.Wait()
	switch {
	case same != nil:
		return same
	case lost(err):
		return err
	}
	return nil
}

// same looks whether the file is as it was when it was ripe. A mailbox is not
// looked at.
func (f *fetch) same() error {
	if f.s.o.Mailbox {
		return nil
	}
	var fi fs.FileInfo
	err := f.c.ask("look", func() (err error) {
		fi, err = f.c.Lstat(f.s.remote(f.e.Name))
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errGone
	case err != nil:
		return err
	}
	now := entry(f.e.Name, fi)
	if !now.Mode.IsRegular() || !now.Same(&f.e) {
		return &changedError{now}
	}
	return nil
}

// read brings all bytes into the spool.
func (f *fetch) read(ctx context.Context, file *sftp.File) error {
	if f.part != nil {
		if ok, err := f.agrees(file); err != nil {
			return err
		} else if !ok {
			f.part.w.Abort()
			f.part = nil
		}
	}
	if f.part == nil {
		w, err := f.s.o.Spool.Create("")
		if err != nil {
			return &localError{err}
		}
		f.part = &partial{e: f.e, w: w}
	}
	if f.s.o.Mailbox {
		return f.inOrder(file)
	}
	return f.pieces(ctx, file)
}

// at reads len(p) bytes at off; fewer only at the end of the file.
func (f *fetch) at(file *sftp.File, p []byte, off int64) (n int, err error) {
	err = f.c.ask("read", func() (err error) {
		n, err = file.ReadAt(p, off)
		return err
	})
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// agrees reads the first bytes and the last ones of what there is once more:
// a file with the same size and mtime may be another one all the same.
func (f *fetch) agrees(file *sftp.File) (bool, error) {
	theirs, ours := make([]byte, chunk), make([]byte, chunk)
	for _, off := range []int64{0, f.part.through - chunk} {
		n, err := f.at(file, theirs, off)
		if err != nil {
			return false, err
		}
		if _, err := f.part.w.ReadAt(ours, off); err != nil {
			return false, &localError{err}
		}
		if n < chunk || !bytes.Equal(theirs, ours) {
			return false, nil
		}
	}
	f.s.log.Info("a file is gone on with where its fetch broke off", "pipeline", f.s.o.Pipeline,
		"name", fmt.Sprintf("%q", f.e.Name), "have", f.part.through, "size", f.e.Size)
	return true, nil
}

// pieces reads the file in chunks, many at once, and writes each where it
// belongs.
func (f *fetch) pieces(ctx context.Context, file *sftp.File) error {
	p := &pieces{f: f, next: f.part.through, done: map[int64]bool{}, flush: make(chan struct{}, 1)}
	var flushing sync.WaitGroup
	flushing.Go(func() {
		for range p.flush {
			// An error must not be lost: the system tells of it once.
			if err := f.part.w.Sync(); err != nil {
				p.fail(&localError{err})
			}
		}
	})
	left := (f.e.Size - p.next + chunk - 1) / chunk
	var wg sync.WaitGroup
	for range min(left, ahead) {
		wg.Go(func() { p.work(ctx, file) })
	}
	// There must be nothing behind the last byte.
	n, err := f.at(file, make([]byte, 1), f.e.Size)
	if err == nil && n > 0 {
		err = &sizeError{f.e.Size + 1, f.e.Size}
	}
	if err != nil {
		p.fail(err)
	}
	wg.Wait()
	close(p.flush)
	flushing.Wait()
	return p.err
}

// pieces hands out chunks to those who read them.
type pieces struct {
	f    *fetch
	mu   sync.Mutex
	next int64          // the first byte that nobody reads yet
	done map[int64]bool // chunks behind part.through that are there
	err  error

	flush chan struct{}
}

func (p *pieces) work(ctx context.Context, file *sftp.File) {
	buf := make([]byte, chunk)
	for {
		off, n, ok := p.claim(ctx)
		if !ok {
			return
		}
		got, err := p.f.at(file, buf[:n], off)
		if err == nil && got < n {
			err = &sizeError{off + int64(got), p.f.e.Size}
		}
		if err == nil {
			if _, werr := p.f.part.w.WriteAt(buf[:n], off); werr != nil {
				err = &localError{werr}
			}
		}
		p.settle(off, err)
	}
}

func (p *pieces) claim(ctx context.Context) (off int64, n int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	off = p.next
	if p.err != nil || off >= p.f.e.Size || ctx.Err() != nil {
		if p.err == nil && off < p.f.e.Size {
			p.err = context.Cause(ctx)
		}
		return 0, 0, false
	}
	n = int(min(chunk, p.f.e.Size-off))
	p.next += int64(n)
	return off, n, true
}

// fail notes the first error, after which no chunk is handed out.
func (p *pieces) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

func (p *pieces) settle(off int64, err error) {
	if err != nil {
		p.fail(err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	part := p.f.part
	p.done[off] = true
	flushed := part.through / flushEvery
	for p.done[part.through] {
		delete(p.done, part.through)
		part.through = min(part.through+chunk, p.f.e.Size)
	}
	if part.through/flushEvery > flushed {
		select {
		case p.flush <- struct{}{}:
		default:
		}
	}
}

// inOrder reads the file from its start to its end, one answer after the other.
func (f *fetch) inOrder(file *sftp.File) error {
	buf := make([]byte, chunk)
	for off := int64(0); ; {
		n, err := f.at(file, buf, off)
		if err != nil {
			return err
		}
		if _, err := f.part.w.WriteAt(buf[:n], off); err != nil {
			return &localError{err}
		}
		off += int64(n)
		switch {
		case off > f.e.Size:
			return &sizeError{off, f.e.Size}
		case n < chunk && off < f.e.Size:
			return &sizeError{off, f.e.Size}
		case n < chunk:
			return nil
		}
	}
}

// commit makes the file ours.
func (f *fetch) commit() error {
	w := f.part.w
	f.part = nil
	defer w.Abort()
	if err := w.Stamp(f.e.ModTime); err != nil {
		return &localError{err}
	}
	file, err := w.Commit()
	if err != nil {
		return &localError{err}
	}
	f.found = &ingest.Found{
		Source:  Type,
		Name:    f.e.Name,
		Origin:  f.s.origin(f.s.remote(f.e.Name)),
		Path:    file.Path,
		Size:    f.e.Size,
		ModTime: f.e.ModTime,
		Device:  file.Device,
		Inode:   file.Inode,
		FoundAt: time.Now().UTC(),
	}
	return nil
}
