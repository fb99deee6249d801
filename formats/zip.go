package formats

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/charmap"

	"ingestd/ingest"
)

// isZip knows a zip by the header of its first member, of its end where it is
// empty, and of the first of several parts.
func isZip(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) ||
		bytes.HasPrefix(head, []byte("PK\x05\x06")) ||
		bytes.HasPrefix(head, []byte("PK\x07\x08"))
}

// A zipFile is the directory of a zip.
type zipFile struct {
	o     *opener
	files []*zip.File
}

// openZip reads the directory, in bounded memory.
func (o *opener) openZip(in ingest.Input) (*zipFile, error) {
	// The directory says nowhere reliably how long it is, and reading it goes
	// on as long as entries come: bytes are what bounds it. An entry has 46
	// bytes and some; 1 KiB leaves room for long names and comments.
	at := &rationed{ReaderAt: in, left: int64(o.limits.Members)<<10 + 1<<20}
	z, err := zip.NewReader(at, in.Size)
	switch {
	case at.spent:
		return nil, refuse("zip", "its directory is larger than %d entries can be, the limit", o.limits.Members)
	case errors.Is(err, zip.ErrInsecurePath):
		// Names are shown, never used as paths.
	case err != nil:
		return nil, &ingest.ReadError{Format: "zip", Reason: "the archive is cut short or damaged: its directory cannot be read", Err: err}
	}
	at.left = -1 // from here on the members, which have bounds of their own
	if len(z.File) > o.limits.Members {
		return nil, refuse("zip", "%d entries, over the limit of %d", len(z.File), o.limits.Members)
	}
	z.RegisterDecompressor(zip.Deflate, flate.NewReader)
	z.RegisterDecompressor(zstd.ZipMethodWinZip, func(r io.Reader) io.ReadCloser {
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(max(o.limits.Window, zstd.MinWindowSize))))
		if err != nil {
			return io.NopCloser(failing{err})
		}
		return d.IOReadCloser()
	})
	return &zipFile{o: o, files: z.File}, nil
}

// rationed lets so many bytes be read; a negative ration is none.
type rationed struct {
	io.ReaderAt
	left  int64
	spent bool
}

func (r *rationed) ReadAt(p []byte, off int64) (int, error) {
	if r.left >= 0 {
		if r.left -= int64(len(p)); r.left < 0 {
			r.left, r.spent = 0, true
			return 0, errors.New("directory too large")
		}
	}
	return r.ReaderAt.ReadAt(p, off)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// workbook reports whether the zip is an Excel workbook.
func (z *zipFile) workbook() bool {
	return z.has("[Content_Types].xml") && z.hasFolder("xl/")
}

func (z *zipFile) has(name string) bool {
	for _, f := range z.files {
		if strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

func (z *zipFile) hasFolder(prefix string) bool {
	for _, f := range z.files {
		if len(f.Name) > len(prefix) && strings.EqualFold(f.Name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// members are the files that the archive holds, at least one. Folders, and what
// file managers leave behind, do not count.
func (z *zipFile) members() ([]*zip.File, error) {
	switch {
	case z.has("[Content_Types].xml") && z.hasFolder("word/"):
		return nil, refuse(z.o.wanted(), "the file is a Word document; ask the sender for CSV or .xlsx")
	case z.has("mimetype") && z.has("content.xml"):
		return nil, refuse(z.o.wanted(), "the file is an OpenDocument file; save it as .xlsx or CSV")
	}
	var members []*zip.File
	for _, f := range z.files {
		name := memberName(f)
		if strings.HasSuffix(name, "/") || left(name) {
			continue
		}
		members = append(members, f)
	}
	if len(members) == 0 {
		return nil, refuse("zip", "the archive holds no file")
	}
	return members, nil
}

// member opens a file of an archive and takes its name for that of what is
// read.
func (o *opener) member(archive string, f *zip.File) (io.Reader, error) {
	if f.Flags&1 != 0 {
		return nil, refuse("zip", "%s in the archive is encrypted; send it without a password", quoted(memberName(f)))
	}
	r, err := f.Open()
	if errors.Is(err, zip.ErrAlgorithm) {
		return nil, refuse("zip", "%s in the archive is packed by method %d, which is not known here; pack it with deflate", quoted(memberName(f)), f.Method)
	}
	if err != nil {
		return nil, &ingest.ReadError{Format: "zip", Reason: "the archive is damaged: " + quoted(memberName(f)) + " cannot be opened", Err: err}
	}
	o.closers = append(o.closers, closeFunc(func() {
		_ = r.Close() // says again what reading said
	}))
	if name := path.Base(memberName(f)); path.Ext(name) != "" {
		o.name = name
	} else {
		o.name = unpackedName(archive)
	}
	return zipMember{r}, nil
}

// A zipMember names damage for what it is.
type zipMember struct{ r io.Reader }

func (m zipMember) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if errors.Is(err, zip.ErrChecksum) {
		err = &ingest.ReadError{Format: "zip", Reason: "the archive is damaged: the checksum does not fit", Err: err}
	}
	return n, err
}

// memberName is a member's path with slashes, as text. Old Windows programs
// wrote backslashes, and names in code page 437.
func memberName(f *zip.File) string {
	name := f.Name
	if f.NonUTF8 && !utf8.ValidString(name) {
		if s, err := charmap.CodePage437.NewDecoder().String(name); err == nil {
			name = s
		}
	}
	return strings.ReplaceAll(name, `\`, "/")
}

// list names the first few members.
func list(members []*zip.File) string {
	const most = 5
	var names []string
	for _, f := range members[:min(len(members), most)] {
		names = append(names, quoted(memberName(f)))
	}
	s := strings.Join(names, ", ")
	if n := len(members) - most; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}
