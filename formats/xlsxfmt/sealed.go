package xlsxfmt

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"ingestd/ingest"
)

// defaultPassword is what Excel encrypts a workbook with, and opens it with
// unasked, where only its structure is protected ([MS-OFFCRYPTO] 2.4.2.1).
const defaultPassword = "VelvetSweatshop"

// segment is how much of a package is encrypted on its own, in bytes
// ([MS-OFFCRYPTO] 2.3.4.15).
const segment = 4096

// A sealed is the zip within an encrypted workbook ([MS-OFFCRYPTO] 2.3.4),
// decrypted as it is read: no plaintext is stored anywhere.
type sealed struct {
	in    *extents // 8 bytes of size, then the encrypted package
	size  int64    // of the package
	block cipher.Block
	iv    func(segment uint32) []byte // nil: ECB

	checksum *integrity
	buf      [segment]byte
}

// unseal finds the package in an OLE file and the key to it.
func unseal(in io.ReaderAt, size int64, password ingest.Secret) (*sealed, error) {
	c, err := openCompound(in, size)
	switch {
	case errors.Is(err, errCompound):
		return nil, refuse("the file is a damaged OLE file (an encrypted workbook, or an .xls)")
	case err != nil:
		return nil, fmt.Errorf("xlsx: read the OLE file: %w", err)
	case !c.has("EncryptedPackage") && c.has("Workbook", "Book"):
		return nil, refuse("it is a workbook of Excel 97-2003 (.xls); save it as .xlsx")
	case !c.has("EncryptedPackage"):
		return nil, refuse("it is an OLE file that holds no workbook")
	case !c.has("EncryptionInfo"):
		return nil, refuse("the workbook is encrypted by rights management; save it without")
	}
	s, err := unlock(c, password)
	if errors.Is(err, errCompound) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, refuse("the encrypted workbook is cut short or damaged")
	}
	return s, err
}

func unlock(c *compound, password ingest.Secret) (*sealed, error) {
	info, err := c.open("EncryptionInfo")
	if err != nil {
		return nil, err
	}
	if info.size < 8 || info.size > 1<<20 {
		return nil, errCompound
	}
	b := make([]byte, info.size)
	if _, err := info.ReadAt(b, 0); err != nil {
		return nil, err
	}
	pack, err := c.open("EncryptedPackage")
	if err != nil {
		return nil, err
	}
	var size [8]byte
	if _, err := pack.ReadAt(size[:], 0); err != nil {
		return nil, readErr(err)
	}
	s := &sealed{in: pack, size: int64(binary.LittleEndian.Uint64(size[:]) & (1<<63 - 1))}
	if s.size > pack.size-8 {
		return nil, errCompound
	}
	pass, given := password.Reveal(), !password.IsZero()
	if !given {
		pass = defaultPassword
	}
	major, minor := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
	var ok bool
	switch {
	case major == 4 && minor == 4:
		ok, err = s.agile(b[8:], utf16le(pass))
	case major >= 2 && major <= 4 && minor == 2:
		ok, err = s.standard(b[8:], utf16le(pass))
	default:
		return nil, refuse("the workbook is encrypted by a method (%d.%d) that is not supported; save it again with a current Excel", major, minor)
	}
	switch {
	case err != nil:
		return nil, err
	case !ok && given:
		return nil, refuse("the workbook is encrypted, and the password is not the right one")
	case !ok:
		return nil, refuse("the workbook is encrypted; give its `password`")
	}
	return s, nil
}

// ReadAt decrypts. It is for one goroutine at a time.
func (s *sealed) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= s.size {
			return n, io.EOF
		}
		seg := off / segment
		b := s.buf[:min(segment, s.in.size-8-seg*segment)]
		// The package is padded to whole blocks; some programs cut that.
		whole := s.buf[:(len(b)+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize]
		if _, err := s.in.ReadAt(b, 8+seg*segment); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
		clear(whole[len(b):])
		s.decrypt(whole, uint32(seg))
		in := off - seg*segment
		got := copy(p[n:], b[in:min(int64(len(b)), s.size-seg*segment)])
		n += got
		off += int64(got)
	}
	return n, nil
}

func (s *sealed) decrypt(b []byte, seg uint32) {
	if s.iv != nil {
		cipher.NewCBCDecrypter(s.block, s.iv(seg)).CryptBlocks(b, b)
		return
	}
	for ; len(b) > 0; b = b[aes.BlockSize:] {
		s.block.Decrypt(b, b)
	}
}

// verify reads the whole package to see that nobody changed it, where the
// workbook says how to tell.
func (s *sealed) verify(ctx context.Context) error {
	if s.checksum == nil {
		return nil
	}
	mac := hmac.New(s.checksum.hash, s.checksum.key)
	buf := make([]byte, 64<<10)
	for off := int64(0); off < s.in.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), s.in.size-off)]
		if _, err := s.in.ReadAt(b, off); errors.Is(err, io.ErrUnexpectedEOF) {
			return refuse("the encrypted workbook is cut short or damaged")
		} else if err != nil {
			return fmt.Errorf("xlsx: read the encrypted package: %w", err)
		}
		mac.Write(b)
		off += int64(len(b))
	}
	if !bytes.Equal(mac.Sum(nil), s.checksum.sum) {
		return refuse("the encrypted workbook was damaged or changed: its integrity check fails")
	}
	return nil
}
