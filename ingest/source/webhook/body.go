package webhook

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// readBody reads a body of at most `most` bytes.
func (v *visit) readBody(most int64) ([]byte, error) {
	length := v.r.ContentLength
	if length == 0 {
		return nil, nil
	}
	tooLarge := answer(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", most)
	if length > most {
		return nil, tooLarge
	}
	timer := http.NewResponseController(v.w)
	_ = timer.SetReadDeadline(time.Now().Add(v.limits.BodyTimeout)) // not there in tests without a connection
	b, err := v.stay.read(v.r.Body, length, most)
	switch {
	case err == nil:
		// Left standing, it would break off an answer that is waited for.
		_ = timer.SetReadDeadline(time.Time{})
		return b, nil
	case errors.Is(err, errTooLarge):
		return nil, tooLarge
	case errors.Is(err, errNoRoom):
		return nil, tooMany("too much is being received", time.Second)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, answer(http.StatusRequestTimeout, "the body did not come within %v", v.limits.BodyTimeout)
	}
	return nil, answer(http.StatusBadRequest, "the body did not come whole")
}

// decode takes off what Content-Encoding (RFC 9110, 8.4) says was put on: one
// layer, within `most` bytes.
func decode(body []byte, encodings []string, most int64, s *stay) ([]byte, error) {
	coding := ""
	for _, line := range encodings {
		for c := range strings.SplitSeq(line, ",") {
			if c = strings.ToLower(strings.TrimSpace(c)); c == "" || c == "identity" {
				continue
			}
			if coding != "" {
				return nil, answer(http.StatusUnsupportedMediaType, "more than one Content-Encoding")
			}
			coding = c
		}
	}
	if coding == "" {
		return body, nil
	}
	in := bytes.NewReader(body)
	r, done, err := decoder(coding, in, most)
	if r == nil && err == nil {
		return nil, answer(http.StatusUnsupportedMediaType, "Content-Encoding %.40q is none of gzip, deflate, br, zstd", coding)
	}
	if err != nil {
		return nil, answer(http.StatusBadRequest, "the body is no %s", coding)
	}
	defer done()
	out, err := s.read(r, -1, most)
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, answer(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes when it is decoded", most)
	case errors.Is(err, errNoRoom):
		return nil, tooMany("too much is being received", time.Second)
	case err != nil:
		return nil, answer(http.StatusBadRequest, "the body is no proper %s", coding)
	case in.Len() > 0:
		return nil, answer(http.StatusBadRequest, "something follows the %s body", coding)
	}
	return out, nil
}

// decoder decodes one coding; nil where there is none of that name.
func decoder(coding string, in io.Reader, most int64) (r io.Reader, done func(), err error) {
	done = func() {}
	switch coding {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(in)
	case "deflate":
		r, err = zlib.NewReader(in) // RFC 9110, 8.4.1.2: deflate within zlib
	case "br":
		r = brotli.NewReader(in)
	case "zstd":
		var z *zstd.Decoder
		z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(uint64(most)+1<<20), zstd.WithDecoderMaxWindow(8<<20)) // RFC 9659 has HTTP's window at 8 MB
		if err == nil {
			r, done = z, z.Close
		}
	}
	return r, done, err
}
