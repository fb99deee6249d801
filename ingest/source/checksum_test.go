package source_test

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ingestd/ingest/source"
)

const content = "id,name\n1,a\n"

func TestChecksum(t *testing.T) {
	hex := fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	zero := strings.Repeat("0", 64)
	utf16 := "\xFF\xFE"
	for _, r := range hex + "\r\n" {
		utf16 += string(r) + "\x00"
	}
	for name, sidecar := range map[string]string{
		"bare":             hex,
		"capitals, CRLF":   strings.ToUpper(hex) + "\r\n",
		"sha256sum":        hex + "  a.csv\n",
		"sha256sum -b":     hex + " *a.csv\n",
		"with a path":      hex + "  /export/today/a.csv\n",
		"a path of DOS":    zero + "  b.csv\n" + hex + "  C:\\export\\a.csv\n",
		"another's name":   hex + "  upload.tmp\n",
		"one of many":      zero + "  b.csv\n" + hex + "  a.csv\n" + zero + "  a.csv.gz\n",
		"BSD":              "SHA256 (a.csv) = " + hex + "\n",
		"BSD of many":      "SHA256 (b.csv) = " + zero + "\nSHA256 (a.csv) = " + hex + "\n",
		"openssl 3":        "SHA2-256(a.csv)= " + hex + "\n",
		"openssl 1":        "SHA256(a.csv)= " + hex + "\n",
		"a remark":         "# by the export job\n\n" + hex + "\n",
		"byte order mark":  "\xEF\xBB\xBF" + hex,
		"UTF-16":           utf16,
		"a name in quotes": "\\" + hex + "  a\\nb\\\\a.csv\n",
		"MD5":              fmt.Sprintf("%x  a.csv", md5.Sum([]byte(content))),
		"SHA-1":            fmt.Sprintf("SHA1 (a.csv) = %x", sha1.Sum([]byte(content))),
		"SHA-224":          fmt.Sprintf("%x", sha256.Sum224([]byte(content))),
		"SHA-384":          fmt.Sprintf("%x", sha512.Sum384([]byte(content))),
		"SHA-512":          fmt.Sprintf("%x *a.csv", sha512.Sum512([]byte(content))),
	} {
		c, err := source.ParseChecksum([]byte(sidecar), "in/a.csv")
		if err == nil {
			err = c.Verify(t.Context(), strings.NewReader(content))
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var mismatch *source.MismatchError
		if err := c.Verify(t.Context(), strings.NewReader(content+"x")); !errors.As(err, &mismatch) {
			t.Errorf("%s: another file passes: %v", name, err)
		}
	}
	for sidecar, says := range map[string]string{
		"":                                       "is empty",
		"\n# nothing\n":                          "is empty",
		"ok":                                     "is no checksum",
		hex[:63]:                                 "is no checksum",
		hex + "00":                               "is no checksum",
		"SHA3-256(a.csv)= " + hex:                "none that is known here",
		"SHA512 (a.csv) = " + hex:                "none that is known here",
		hex + "  b.csv\n" + zero + "  c.csv":     "none of the sidecar's 2 lines",
		strings.Repeat(" ", source.MaxSidecar+1): "more than 65536 bytes",
	} {
		if _, err := source.ParseChecksum([]byte(sidecar), "a.csv"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want %q", sidecar, err, says)
		}
	}
	c, _ := source.ParseChecksum([]byte(zero), "a.csv")
	if err := c.Verify(t.Context(), strings.NewReader(content)); err == nil || !strings.Contains(err.Error(), hex) || !strings.Contains(err.Error(), zero) {
		t.Errorf("a mismatch does not show both: %v", err)
	}
}

// Whatever a sidecar holds, what is made of it is a digest of a known length.
func FuzzChecksum(f *testing.F) {
	f.Add([]byte("SHA256 (a.csv) = 00\n"), "a.csv")
	f.Add([]byte("\\d41d8cd98f00b204e9800998ecf8427e  a\\nb"), "x/a")
	f.Add([]byte("\xff\xfe0\x000\x00"), "")
	f.Fuzz(func(t *testing.T, sidecar []byte, name string) {
		c, err := source.ParseChecksum(sidecar, name)
		if err != nil {
			return
		}
		if c.Algorithm == "" || len(c.Sum) < md5.Size || len(c.Sum) > sha512.Size {
			t.Errorf("%q: %+v", sidecar, c)
		}
		if err := c.Verify(t.Context(), strings.NewReader("")); err != nil {
			var mismatch *source.MismatchError
			if !errors.As(err, &mismatch) {
				t.Errorf("%q: %v", sidecar, err)
			}
		}
	})
}
