package source

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"
)

// MaxSidecar bounds a sidecar, in bytes. A larger one is none.
const MaxSidecar = 64 << 10

// A Checksum is what a sidecar says of its file.
type Checksum struct {
	Algorithm string // "SHA-256", …
	Sum       []byte
}

// algorithms are told apart by the length of their digests.
var algorithms = map[int]struct {
	name string
	tags []string // as openssl, coreutils and the BSDs write them
	make func() hash.Hash
}{
	md5.Size:       {"MD5", []string{"MD5"}, md5.New},
	sha1.Size:      {"SHA-1", []string{"SHA1"}, sha1.New},
	sha256.Size224: {"SHA-224", []string{"SHA224", "SHA2-224"}, sha256.New224},
	sha256.Size:    {"SHA-256", []string{"SHA256", "SHA2-256"}, sha256.New},
	sha512.Size384: {"SHA-384", []string{"SHA384", "SHA2-384"}, sha512.New384},
	sha512.Size:    {"SHA-512", []string{"SHA512", "SHA2-512"}, sha512.New},
}

// ParseChecksum reads a sidecar: a bare digest in hex, or lines as
// sha256sum ("<hex>  name", "<hex> *name"), the BSDs ("SHA256 (name) = <hex>")
// and openssl ("SHA2-256(name)= <hex>") write them, for MD5, SHA-1 and SHA-2;
// the digest's length tells which. Of several lines the one with the last
// element of name counts; a single one counts whatever it names, since senders
// compute it before they rename.
func ParseChecksum(sidecar []byte, name string) (Checksum, error) {
	if len(sidecar) > MaxSidecar {
		return Checksum{}, fmt.Errorf("the sidecar has more than %d bytes: it is no checksum", MaxSidecar)
	}
	var lines []string
	for line := range strings.Lines(plain(sidecar)) {
		if line = strings.Trim(line, " \t\r\n\x1a"); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return Checksum{}, errors.New("the sidecar is empty")
	}
	base := path.Base(name)
	for _, line := range lines {
		c, of, err := parseLine(line)
		switch {
		case len(lines) == 1:
			return c, err
		case err == nil && path.Base(strings.ReplaceAll(of, `\`, "/")) == base:
			return c, nil
		case err == nil && path.Base(of) == base:
			return c, nil
		}
	}
	return Checksum{}, fmt.Errorf("none of the sidecar's %d lines is a checksum of %q", len(lines), base)
}

// plain takes off what editors and shells of Windows put around text.
func plain(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("\xFF\xFE")): // UTF-16, of which ASCII is asked for
		var out []byte
		for b = b[2:]; len(b) >= 2; b = b[2:] {
			if b[1] != 0 {
				b[0] = '?'
			}
			out = append(out, b[0])
		}
		return string(out)
	default:
		return string(bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF")))
	}
}

// parseLine reads one line of a sidecar, and of which file it speaks.
func parseLine(line string) (c Checksum, name string, err error) {
	digest, tag := line, ""
	if open, end := strings.IndexByte(line, '('), strings.LastIndex(line, ")"); open > 0 && end > open {
		after := strings.TrimSpace(line[end+1:])
		if !strings.HasPrefix(after, "=") {
			return Checksum{}, "", noChecksum(line)
		}
		tag, name, digest = strings.TrimSpace(line[:open]), line[open+1:end], strings.TrimSpace(after[1:])
	} else if i := strings.IndexAny(line, " \t"); i > 0 {
		// sha256sum puts a backslash before a line whose name has escapes.
		escaped := strings.HasPrefix(line, `\`)
		digest, name = strings.TrimPrefix(line[:i], `\`), strings.TrimLeft(line[i:], " \t")
		name = strings.TrimPrefix(name, "*")
		if escaped {
			name = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
		}
	}
	sum, err := hex.DecodeString(digest)
	a, ok := algorithms[len(sum)]
	if err != nil || !ok {
		return Checksum{}, "", noChecksum(line)
	}
	if tag != "" {
		ok = false
		for _, t := range a.tags {
			ok = ok || strings.EqualFold(t, tag)
		}
		if !ok {
			return Checksum{}, "", fmt.Errorf("the sidecar's checksum %.40q is none that is known here: MD5, SHA-1 or SHA-2", tag)
		}
	}
	return Checksum{Algorithm: a.name, Sum: sum}, name, nil
}

func noChecksum(line string) error {
	return fmt.Errorf("the sidecar's line %.80q is no checksum", line)
}

// Verify reads r to its end and says where its digest is another one.
func (c Checksum) Verify(ctx context.Context, r io.Reader) error {
	a, ok := algorithms[len(c.Sum)]
	if !ok {
		return errors.New("there is no checksum to hold it to")
	}
	h := a.make()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := io.CopyN(h, r, 4<<20)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read it: %w", err)
		}
	}
	if got := h.Sum(nil); subtle.ConstantTimeCompare(got, c.Sum) == 0 {
		return &MismatchError{Algorithm: c.Algorithm, Got: got, Want: c.Sum}
	}
	return nil
}

// A MismatchError says that a file is not what its sidecar speaks of.
type MismatchError struct {
	Algorithm string
	Got, Want []byte // the file's digest, and the sidecar's
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("its %s is %x, but the sidecar says %x: it is not whole, or not the file that was meant", e.Algorithm, e.Got, e.Want)
}
