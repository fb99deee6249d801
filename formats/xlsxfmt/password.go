package xlsxfmt

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"io"
	"strings"
	"unicode/utf16"
)

// maxSpin is the most hash rounds that [MS-OFFCRYPTO] 2.3.4.10 allows.
const maxSpin = 10_000_000

// integrity is how to tell whether a package was changed.
type integrity struct {
	hash     func() hash.Hash
	key, sum []byte
}

// utf16le is a password as it is hashed.
func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// spin hashes salt and password, and the result again with a counter before
// it, rounds times.
func spin(h hash.Hash, salt, password []byte, rounds int) []byte {
	h.Write(salt)
	h.Write(password)
	sum := h.Sum(nil)
	var n [4]byte
	for i := range rounds {
		h.Reset()
		binary.LittleEndian.PutUint32(n[:], uint32(i))
		h.Write(n[:])
		h.Write(sum)
		sum = h.Sum(sum[:0])
	}
	return sum
}

func hashOf(newHash func() hash.Hash, parts ...[]byte) []byte {
	h := newHash()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// fit cuts b to n bytes or fills it up as [MS-OFFCRYPTO] 2.3.4.11 says.
func fit(b []byte, n int) []byte {
	for len(b) < n {
		b = append(b, 0x36)
	}
	return b[:n]
}

// standard derives the key of standard encryption (2.3.4.7: AES, SHA-1, ECB)
// and reports whether the password is right.
func (s *sealed) standard(info, password []byte) (bool, error) {
	const (
		aes128, aes256 = 0x660E, 0x6610
		rounds         = 50000
	)
	if len(info) < 4 {
		return false, errCompound
	}
	size := int64(binary.LittleEndian.Uint32(info))
	if size < 32 || size+4+72 > int64(len(info)) {
		return false, errCompound
	}
	head, verifier := info[4:4+size], info[4+size:]
	alg, bits := binary.LittleEndian.Uint32(head[8:]), binary.LittleEndian.Uint32(head[16:])
	if alg < aes128 || alg > aes256 || bits != 128+64*(alg-aes128) {
		return false, refuse("the workbook is encrypted with a cipher that is not supported; save it again with a current Excel")
	}
	key := spin(sha1.New(), verifier[4:20], password, rounds)
	key = hashOf(sha1.New, key, make([]byte, 4))
	var derived []byte
	for _, fill := range []byte{0x36, 0x5C} {
		pad := bytes.Repeat([]byte{fill}, 64)
		for i, b := range key {
			pad[i] ^= b
		}
		derived = append(derived, hashOf(sha1.New, pad)...)
	}
	var err error
	if s.block, err = aes.NewCipher(derived[:bits/8]); err != nil {
		return false, err
	}
	input, sum := bytes.Clone(verifier[20:36]), bytes.Clone(verifier[40:72])
	s.decrypt(input, 0)
	s.decrypt(sum, 0)
	return bytes.Equal(hashOf(sha1.New, input), sum[:sha1.Size]), nil
}

// agileInfo is the XML of agile encryption (2.3.4.10).
type agileInfo struct {
	data, key          agileKey
	hmacKey, hmacValue []byte
}

type agileKey struct {
	hash                         func() hash.Hash
	salt                         []byte
	spin, keyBytes               int
	verifier, verifierSum, value []byte // encrypted
}

// agile derives the key of agile encryption (2.3.4.11: AES-CBC) and reports
// whether the password is right.
func (s *sealed) agile(info, password []byte) (bool, error) {
	a, err := parseAgile(info)
	if err != nil {
		return false, err
	}
	base := spin(a.key.hash(), a.key.salt, password, a.key.spin)
	open := func(blockKey string, b []byte) ([]byte, error) {
		key := fit(hashOf(a.key.hash, base, []byte(blockKey)), a.key.keyBytes)
		return cbc(key, fit(bytes.Clone(a.key.salt), aes.BlockSize), b)
	}
	verifier, err := open("\xFE\xA7\xD2\x76\x3B\x4B\x9E\x79", a.key.verifier)
	if err != nil {
		return false, err
	}
	want, err := open("\xD7\xAA\x0F\x6D\x30\x61\x34\x4E", a.key.verifierSum)
	if err != nil {
		return false, err
	}
	sum := hashOf(a.key.hash, verifier[:min(len(verifier), len(a.key.salt))])
	if !bytes.HasPrefix(want, sum) {
		return false, nil
	}
	key, err := open("\x14\x6E\x0B\xE7\xAB\xAC\xD0\xD6", a.key.value)
	if err != nil {
		return false, err
	}
	key = key[:min(len(key), a.data.keyBytes)]
	if s.block, err = aes.NewCipher(key); err != nil {
		return false, errCompound
	}
	iv := func(blockKey []byte) []byte {
		return fit(hashOf(a.data.hash, a.data.salt, blockKey), aes.BlockSize)
	}
	s.iv = func(seg uint32) []byte { return iv(binary.LittleEndian.AppendUint32(nil, seg)) }
	if a.hmacKey == nil || a.hmacValue == nil {
		return true, nil
	}
	macKey, err := cbc(key, iv([]byte("\x5F\xB2\xAD\x01\x0C\xB9\xE1\xF6")), a.hmacKey)
	if err != nil {
		return false, err
	}
	macSum, err := cbc(key, iv([]byte("\xA0\x67\x7F\x02\xB2\x2C\x84\x33")), a.hmacValue)
	if err != nil {
		return false, err
	}
	n := a.data.hash().Size()
	if len(macKey) < n || len(macSum) < n {
		return false, errCompound
	}
	s.checksum = &integrity{hash: a.data.hash, key: macKey[:n], sum: macSum[:n]}
	return true, nil
}

// cbc decrypts a copy of b.
func cbc(key, iv, b []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil || len(b) == 0 || len(b)%aes.BlockSize != 0 {
		return nil, errCompound
	}
	out := make([]byte, len(b))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, b)
	return out, nil
}

func parseAgile(info []byte) (*agileInfo, error) {
	a := &agileInfo{}
	p := &part{
		scanner: newScanner(bytes.NewReader(bytes.TrimRight(info, "\x00"))),
		member:  "EncryptionInfo", rc: io.NopCloser(nil), ctx: context.Background(),
	}
	if err := p.root("encryption"); err != nil {
		return nil, err
	}
	err := p.children(func(name []byte) (err error) {
		switch string(name) {
		case "keyData":
			a.data, err = p.agileKey()
		case "dataIntegrity":
			if a.hmacKey, err = p.base64("encryptedHmacKey"); err == nil {
				a.hmacValue, err = p.base64("encryptedHmacValue")
			}
		case "keyEncryptors":
			err = p.children(func([]byte) error {
				return p.children(func(name []byte) (err error) {
					// Certificates have an encryptedKey too, without these.
					if string(name) == "encryptedKey" && a.key.hash == nil && p.has("spinCount") {
						a.key, err = p.agileKey()
					}
					return err
				})
			})
		}
		return err
	})
	if err != nil {
		return nil, p.fail(err)
	}
	if a.data.hash == nil || a.key.hash == nil {
		return nil, refuse("the workbook is encrypted, and not by a password")
	}
	return a, nil
}

// agileKey reads the attributes of the element that was the last token.
func (p *part) agileKey() (k agileKey, err error) {
	unsupported := func(what string) (agileKey, error) {
		return k, refuse("the workbook is encrypted with %s, which is not supported; save it again with a current Excel", what)
	}
	var v [3]string
	for i, name := range []string{"cipherAlgorithm", "cipherChaining", "hashAlgorithm"} {
		if v[i], err = p.value(name); err != nil {
			return k, err
		}
	}
	if v[0] != "AES" {
		return unsupported("the cipher " + v[0])
	}
	if v[1] != "ChainingModeCBC" {
		return unsupported("the mode " + v[1])
	}
	switch strings.ReplaceAll(v[2], "-", "") {
	case "SHA1":
		k.hash = sha1.New
	case "SHA256":
		k.hash = sha256.New
	case "SHA384":
		k.hash = sha512.New384
	case "SHA512":
		k.hash = sha512.New
	default:
		return unsupported("the hash " + v[2])
	}
	if k.keyBytes, err = p.number("keyBits"); err != nil {
		return k, err
	}
	if k.spin, err = p.number("spinCount"); err != nil {
		return k, err
	}
	k.keyBytes /= 8
	if k.spin < 0 || k.spin > maxSpin || k.keyBytes < 16 || k.keyBytes > 32 {
		return k, refuse("the workbook is encrypted with settings that no program uses (%d rounds, %d bits)", k.spin, k.keyBytes*8)
	}
	for name, to := range map[string]*[]byte{
		"saltValue":                  &k.salt,
		"encryptedVerifierHashInput": &k.verifier,
		"encryptedVerifierHashValue": &k.verifierSum,
		"encryptedKeyValue":          &k.value,
	} {
		if *to, err = p.base64(name); err != nil {
			return k, err
		}
	}
	return k, nil
}

// base64 is an attribute's value decoded, nil if it is absent.
func (p *part) base64(name string) ([]byte, error) {
	v, err := p.value(name)
	if err != nil || v == "" {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(v)
	if err != nil {
		return nil, p.bad("attribute " + name + " is no base64")
	}
	return b, nil
}

// has reports whether the last start tag has an attribute.
func (p *part) has(name string) bool {
	for _, a := range p.attrs {
		if string(a.name) == name {
			return true
		}
	}
	return false
}
