package sftpdrop

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"sync"
	"time"

	"ingestd/ingest/spool"

	"github.com/pkg/sftp"
)

var errManyFiles = fail("too many open files")

// A session is one user's SFTP over one channel. The library calls its methods,
// one at a time but for reads and writes.
type session struct {
	server *Server
	user   *user
	log    *slog.Logger // says user and address
	began  time.Time

	mu      sync.Mutex
	writing int // uploads under way
}

var (
	_ sftp.FileReader           = (*session)(nil)
	_ sftp.OpenFileWriter       = (*session)(nil)
	_ sftp.PosixRenameFileCmder = (*session)(nil)
	_ sftp.StatVFSFileCmder     = (*session)(nil)
	_ sftp.LstatFileLister      = (*session)(nil)
	_ sftp.TransferError        = (*handle)(nil)
	_ sftp.WriterAtReaderAt     = (*handle)(nil)
)

func (s *session) handlers() sftp.Handlers {
	return sftp.Handlers{FileGet: s, FilePut: s, FileCmd: s, FileList: s}
}

// Lstat implements sftp.LstatFileLister: links are not there at all.
func (s *session) Lstat(r *sftp.Request) (sftp.ListerAt, error) { return s.Filelist(r) }

// Filewrite implements sftp.FileWriter.
func (s *session) Filewrite(r *sftp.Request) (io.WriterAt, error) { return s.openWrite(r) }

// OpenFile implements sftp.OpenFileWriter, for clients that open a file for
// reading too. Without it the library would take their reads for writes.
func (s *session) OpenFile(r *sftp.Request) (sftp.WriterAtReaderAt, error) { return s.openWrite(r) }

func (s *session) openWrite(r *sftp.Request) (_ *handle, err error) {
	defer func() { err = s.answer("open for writing", r.Filepath, err) }()
	name, err := judge(r.Filepath)
	switch {
	case err != nil:
		return nil, err
	case name == ".":
		return nil, fail("it is a folder")
	case !s.user.admits(name):
		return nil, refuse("files of this name are not taken here")
	}
	if why := s.server.full(); why != "" {
		s.log.Warn("upload refused", "name", quoted(name), "why", why)
		return nil, fail("the server's disk is nearly full; try again later")
	}
	if !s.user.take(&s.user.files, s.user.MaxOpenFiles) {
		return nil, errManyFiles
	}
	h := &handle{session: s, most: s.user.MaxFile}
	f := r.Pflags()
	if err := s.user.home.begin(h, name, intent{create: f.Creat, trunc: f.Trunc, excl: f.Excl, appends: f.Append}); err != nil {
		s.user.give(&s.user.files)
		return nil, err
	}
	s.user.home.ghosts.lay(name)
	s.mu.Lock()
	s.writing++
	s.mu.Unlock()
	return h, nil
}

// ended is told by a handle that it is no more.
func (s *session) ended(*handle) {
	s.user.give(&s.user.files)
	s.mu.Lock()
	s.writing--
	s.mu.Unlock()
}

// busy reports whether an upload is under way.
func (s *session) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writing > 0
}

// uploaded is told of a file that stands whole under its name.
func (s *session) uploaded(name string, size int64) {
	s.log.Info("uploaded", "name", quoted(name), "bytes", size)
	s.remember(name, entry{name: path.Base(name), size: size, time: time.Now()})
	s.arrived(name)
}

func (s *session) arrived(name string) {
	if s.server.o.Arrived != nil {
		s.server.o.Arrived(s.user.Name, name)
	}
}

// broke is told of an upload that did not become whole.
func (s *session) broke(name string, kept int64, cause error) {
	s.log.Warn("upload broken off; it is kept to be resumed and not taken up", "name", quoted(name), "kept_bytes", kept, "error", cause)
}

// remember keeps what was uploaded in sight of clients that know of it.
func (s *session) remember(name string, e entry) {
	if info, err := s.user.home.stat(name); err == nil {
		e.time = info.ModTime
	}
	s.user.home.ghosts.add(name, e, time.Now())
}

// Fileread implements sftp.FileReader.
func (s *session) Fileread(r *sftp.Request) (_ io.ReaderAt, err error) {
	defer func() { err = s.answer("open", r.Filepath, err) }()
	name, err := judge(r.Filepath)
	switch {
	case err != nil:
		return nil, err
	case !s.user.readable(name):
		return nil, refuse("files cannot be read here, only uploaded")
	case !s.user.take(&s.user.files, s.user.MaxOpenFiles):
		return nil, errManyFiles
	}
	f, err := s.user.home.openRead(name)
	if err != nil {
		s.user.give(&s.user.files)
		return nil, err
	}
	return &reading{f: f, done: func() { s.user.give(&s.user.files) }}, nil
}

// openRead opens a file, or what there is of an unfinished upload.
func (h *home) openRead(name string) (*os.File, error) {
	if u := h.unfinished(name); u != nil {
		own, err := h.own()
		if err != nil {
			return nil, err
		}
		defer own.Close()
		return own.Open(u.id + partSuffix)
	}
	if name == "." {
		return nil, fail("it is a folder")
	}
	d, err := h.folder(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	f, _, err := spool.OpenAt(d, path.Base(name))
	return f, err
}

// A reading is a file that a client reads.
type reading struct {
	f    *os.File
	done func()
}

func (r *reading) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.f.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = answer(err)
	}
	return n, err
}

func (r *reading) Close() error {
	if r.done == nil {
		return nil
	}
	r.done()
	r.done = nil
	r.f.Close()
	return nil
}

// answer is what a client hears of err. What is this machine's trouble and not
// the client's is logged.
func (s *session) answer(op, p string, err error) error {
	if err == nil {
		return nil
	}
	if !expected(err) && !errors.Is(err, spool.ErrIrregular) && !errors.Is(err, fs.ErrPermission) {
		s.log.Error("a request failed", "request", op, "name", quoted(p), "error", err)
	}
	var f *fault
	if errors.As(err, &f) && f.status == sftp.ErrSSHFxPermissionDenied {
		s.log.Warn("request refused", "request", op, "name", quoted(p), "why", f.text)
	}
	return answer(err)
}
