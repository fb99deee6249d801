package formats

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// gunzip reads every member of a gzip file (RFC 1952, section 2.2) and allows
// nothing after the last but zero bytes, which tapes and block devices add.
func (o *opener) gunzip(r *bufio.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, packError("gzip", cutShort(err))
	}
	z.Multistream(false)
	o.name = unpackedName(o.name)
	return &gunzipper{src: r, z: z}, nil
}

type gunzipper struct {
	src *bufio.Reader
	z   *gzip.Reader
}

func (g *gunzipper) Read(p []byte) (int, error) {
	for {
		n, err := g.z.Read(p)
		if err == nil || n > 0 && err == io.EOF {
			return n, nil
		}
		if err != io.EOF {
			return n, cutShort(err)
		}
		// One member ended well.
		switch b, err := g.src.Peek(1); {
		case err == io.EOF:
			return 0, io.EOF
		case err != nil:
			return 0, err
		case b[0] == 0:
			return 0, g.padding()
		case b[0] != 0x1F:
			return 0, refuse("gzip", "bytes that are no gzip follow the packed data; was the file appended to, or joined with another?")
		}
		if err := g.z.Reset(g.src); err != nil {
			if errors.Is(err, gzip.ErrHeader) {
				return 0, refuse("gzip", "bytes that are no gzip follow the packed data; was the file appended to, or joined with another?")
			}
			return 0, cutShort(err)
		}
		g.z.Multistream(false)
	}
}

// padding reads zeros to the end.
func (g *gunzipper) padding() error {
	for {
		b, err := g.src.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return refuse("gzip", "bytes that are no gzip follow the packed data and its padding")
		}
	}
}

// cutShort turns an end in the wrong place into the error that says so.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// unzstd reads a zstd file (RFC 8878) of any number of frames.
func (o *opener) unzstd(r *bufio.Reader) (io.Reader, error) {
	z, err := zstd.NewReader(r,
		zstd.WithDecoderConcurrency(1), // no goroutines of its own
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(uint64(max(o.limits.Window, zstd.MinWindowSize))),
		zstd.WithDecoderMaxMemory(uint64(max(o.limits.Window, zstd.MinWindowSize))),
	)
	if err != nil {
		return nil, packError("zstd", err)
	}
	o.closers = append(o.closers, closeFunc(z.Close))
	o.name = unpackedName(o.name)
	return &unzstder{z: z, limits: o.limits}, nil
}

type unzstder struct {
	z      *zstd.Decoder
	limits Limits
}

func (u *unzstder) Read(p []byte) (int, error) {
	n, err := u.z.Read(p)
	switch {
	case errors.Is(err, zstd.ErrMagicMismatch):
		err = refuse("zstd", "bytes that are no zstd follow the packed data; was the file appended to, or joined with another?")
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		err = refuse("zstd", "unpacking it takes more than %d MiB of memory; pack it without --long or --ultra", u.limits.Window>>20)
	}
	return n, err
}

type closeFunc func()

func (f closeFunc) Close() error {
	f()
	return nil
}
