package sftp

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/sftp/sshdtest"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A fake is a server of our own that does what OpenSSH never would.
type fake struct {
	addr, pin string

	mu      sync.Mutex
	files   map[string]*fakeFile // by base name, in /out
	short   int                  // bytes that a READ answers at most; 0: all
	endless bool                 // a listing never ends
	gone    bool                 // a file goes once it was looked at or read
	looks   int                  // STATs and LSTATs of files
	logins  int                  // tries
	back    [][2]int64           // READs: offset, length
}

type fakeFile struct {
	name  string // as it is listed; "": its key
	data  []byte
	size  int64 // as it is said to be; <0: as it is
	mode  fs.FileMode
	mtime time.Time
}

// newFake starts a fake that lets in whom the edited config does.
func newFake(t *testing.T, edit func(*ssh.ServerConfig), hostKeys ...ssh.Signer) *fake {
	t.Helper()
	f := &fake{files: map[string]*fakeFile{}}
	cfg := &ssh.ServerConfig{}
	if edit != nil {
		edit(cfg)
	} else {
		cfg.NoClientAuth = true
	}
	cfg.AuthLogCallback = func(ssh.ConnMetadata, string, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.logins++
	}
	signer, err := ssh.ParsePrivateKey([]byte(sshdtest.NewKey(t, "ed25519")))
	if err != nil {
		t.Fatal(err)
	}
	if len(hostKeys) == 0 {
		hostKeys = append(hostKeys, signer)
	}
	for _, k := range hostKeys {
		cfg.AddHostKey(k)
	}
	f.pin = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f.serve(c, cfg) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait() // clients have gone by now
	})
	return f
}

func (f *fake) serve(c net.Conn, cfg *ssh.ServerConfig) {
	defer c.Close()
	_, chans, reqs, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	for nc := range chans {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range reqs {
				r.Reply(r.Type == "subsystem", nil)
			}
		}()
		s := sftp.NewRequestServer(ch, sftp.Handlers{FileGet: f, FilePut: f, FileCmd: f, FileList: f})
		s.Serve()
		s.Close()
	}
}

func (f *fake) put(name string, data []byte) *fakeFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	file := &fakeFile{name: name, data: data, size: -1, mode: 0o644, mtime: time.Unix(1_700_000_000, 0)}
	f.files[name] = file
	return file
}

func (f *fake) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	file := f.files[path.Base(r.Filepath)]
	if file == nil {
		return nil, os.ErrNotExist
	}
	if f.gone {
		delete(f.files, path.Base(r.Filepath))
	}
	return fakeReader{f, file}, nil
}

type fakeReader struct {
	f    *fake
	file *fakeFile
}

func (r fakeReader) ReadAt(p []byte, off int64) (int, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.f.back = append(r.f.back, [2]int64{off, int64(len(p))})
	if off >= int64(len(r.file.data)) {
		return 0, io.EOF
	}
	if r.f.short > 0 && len(p) > r.f.short {
		p = p[:r.f.short]
	}
	return copy(p, r.file.data[off:]), nil
}

func (f *fake) Filewrite(*sftp.Request) (io.WriterAt, error) { return nil, os.ErrPermission }
func (f *fake) Filecmd(*sftp.Request) error                  { return os.ErrPermission }

func (f *fake) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == "List" {
		var l fakeList
		for name, file := range f.files {
			l = append(l, file.info(name))
		}
		if f.endless {
			return endlessList(l), nil
		}
		return l, nil
	}
	name := path.Base(r.Filepath)
	file := f.files[name]
	if file == nil {
		return nil, os.ErrNotExist
	}
	f.looks++
	if f.gone {
		delete(f.files, name)
	}
	return fakeList{file.info(name)}, nil
}

func (f *fake) Lstat(r *sftp.Request) (sftp.ListerAt, error) { return f.Filelist(r) }

type fakeList []os.FileInfo

func (l fakeList) ListAt(out []os.FileInfo, off int64) (int, error) {
	if off >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(out, l[off:])
	if n < len(out) {
		return n, io.EOF
	}
	return n, nil
}

type endlessList []os.FileInfo

func (l endlessList) ListAt(out []os.FileInfo, _ int64) (int, error) {
	for i := range out {
		out[i] = l[0]
	}
	return len(out), nil
}

type fakeInfo struct {
	name string
	*fakeFile
}

func (file *fakeFile) info(name string) os.FileInfo {
	if file.name != "" {
		name = file.name
	}
	return fakeInfo{name, file}
}

func (i fakeInfo) Name() string { return i.name }
func (i fakeInfo) Size() int64 {
	if i.size >= 0 || i.size < -1 {
		return i.size
	}
	return int64(len(i.data))
}
func (i fakeInfo) Mode() fs.FileMode  { return i.mode }
func (i fakeInfo) ModTime() time.Time { return i.mtime }
func (i fakeInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fakeInfo) Sys() any           { return nil }

// rig makes a source that polls the fake.
func (f *fake) rig(t *testing.T, edit func(*Options)) *rig {
	t.Helper()
	return newRigOn(t, &sshdtest.Server{Addr: f.addr, User: "me", HostKeys: []string{f.pin}}, func(o *Options) {
		o.Path = "/out"
		o.Server.Auth = Auth{Password: ingest.NewSecret("open")}
		if edit != nil {
			edit(o)
		}
	})
}

// list lists the fake's folder with other bounds.
func (f *fake) list(t *testing.T, set func(*lister)) (n int, capped bool) {
	t.Helper()
	r := f.rig(t, nil)
	err := r.src.pool.using(t.Context(), func(c *conn) error {
		filter, err := source.NewFilter(source.Rules{})
		if err != nil {
			return err
		}
		l := r.src.lister(c, filter)
		set(l)
		err = l.List(t.Context(), func(source.Entry) error { n++; return nil })
		capped = l.capped
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return n, capped
}

var errNo = errors.New("no")
