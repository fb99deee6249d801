package xlsxfmt

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/xuri/excelize/v2"

	"ingestd/ingest"
)

// oleFile makes an OLE compound file of streams, each in its own run of
// sectors. Streams below miniCutoff go to the mini stream.
func oleFile(names []string, streams map[string][]byte) []byte {
	const sector = 512
	le := binary.LittleEndian
	var sectors, mini []byte
	var fat, miniFAT []uint32
	put := func(b []byte) uint32 {
		start := uint32(len(fat))
		for i := 0; i < len(b); i += sector {
			s := make([]byte, sector)
			copy(s, b[i:])
			sectors = append(sectors, s...)
			fat = append(fat, uint32(len(fat)+1))
		}
		fat[len(fat)-1] = endOfChain
		return start
	}
	words := func(v []uint32) (b []byte) {
		for len(v)%(sector/4) != 0 {
			v = append(v, 0xFFFFFFFF)
		}
		for _, x := range v {
			b = le.AppendUint32(b, x)
		}
		return b
	}
	record := func(name string, kind byte, start uint32, size int) []byte {
		e := make([]byte, 128)
		for i, u := range utf16.Encode([]rune(name)) {
			le.PutUint16(e[2*i:], u)
		}
		le.PutUint16(e[64:], uint16(2*len(name)+2))
		e[66] = kind
		for _, at := range []int{68, 72, 76} { // no siblings, no child
			le.PutUint32(e[at:], 0xFFFFFFFF)
		}
		le.PutUint32(e[116:], start)
		le.PutUint64(e[120:], uint64(size))
		return e
	}
	var dir []byte
	for _, n := range names {
		b := streams[n]
		if len(b) >= miniCutoff {
			dir = append(dir, record(n, 2, put(b), len(b))...)
			continue
		}
		dir = append(dir, record(n, 2, uint32(len(miniFAT)), len(b))...)
		for i := 0; i < len(b); i += miniSector {
			s := make([]byte, miniSector)
			copy(s, b[i:])
			mini = append(mini, s...)
			miniFAT = append(miniFAT, uint32(len(miniFAT)+1))
		}
		if len(miniFAT) > 0 {
			miniFAT[len(miniFAT)-1] = endOfChain
		}
	}
	miniStart, miniFATStart := uint32(endOfChain), uint32(endOfChain)
	if len(mini) > 0 {
		miniStart = put(mini)
		miniFATStart = put(words(miniFAT))
	}
	root := record("Root Entry", 5, miniStart, len(mini))
	le.PutUint32(root[76:], 1)
	for i := 1; i < len(names); i++ {
		le.PutUint32(dir[(i-1)*128+72:], uint32(i+1))
	}
	dirStart := put(append(root, dir...))
	// The FAT holds itself, too, and the list of its sectors beyond 109.
	const perFAT, perList = sector / 4, sector/4 - 1
	n, lists := 0, 0
	for n*perFAT < len(fat)+n+lists {
		n++
		lists = (max(0, n-109) + perList - 1) / perList
	}
	head := make([]byte, sector)
	copy(head, oleMagic)
	le.PutUint16(head[26:], 3)
	le.PutUint16(head[30:], 9)
	le.PutUint32(head[44:], uint32(n))
	le.PutUint32(head[48:], dirStart)
	le.PutUint32(head[60:], miniFATStart)
	le.PutUint32(head[64:], uint32((len(miniFAT)*4+sector-1)/sector))
	le.PutUint32(head[68:], endOfChain)
	le.PutUint32(head[72:], uint32(lists))
	places := make([]uint32, max(109, n))
	for i := range places {
		if places[i] = 0xFFFFFFFF; i < n {
			places[i] = uint32(len(fat))
			fat = append(fat, 0xFFFFFFFD)
		}
	}
	for i, at := range places[:109] {
		le.PutUint32(head[76+4*i:], at)
	}
	var more []byte
	for i := range lists {
		if i == 0 {
			le.PutUint32(head[68:], uint32(len(fat)))
		}
		fat = append(fat, 0xFFFFFFFC)
		for k := range perList {
			at := uint32(0xFFFFFFFF)
			if at109 := 109 + i*perList + k; at109 < n {
				at = places[at109]
			}
			more = le.AppendUint32(more, at)
		}
		next := uint32(endOfChain)
		if i < lists-1 {
			next = uint32(len(fat))
		}
		more = le.AppendUint32(more, next)
	}
	return slices.Concat(head, sectors, words(fat), more)
}

// A package of more than 7 MB needs a list of its FAT's sectors.
func TestLargeOLE(t *testing.T) {
	plain := newBook(grid("a", "1")).set("xl/media/image1.png", incompressible(7<<20)).stored()
	info, pack := sealAgile(t, plain, "pw", "SHA256", 256, 1)
	b := encryptedBook(info, pack)
	check(t, mustRead(t, b, password("pw")), `{"a":1}`)
	refused(t, b[:len(b)-1024], password("pw"), "damaged OLE file")
}

// sealAgile encrypts a package by agile encryption, with the building blocks
// of password.go; excelize and Excel's own files check those.
func sealAgile(t testing.TB, pack []byte, password, hashName string, bits, spins int) (info, sealedPack []byte) {
	t.Helper()
	var (
		dataSalt = bytes.Repeat([]byte{1}, 16)
		keySalt  = bytes.Repeat([]byte{2}, 16)
		key      = bytes.Repeat([]byte{3}, bits/8)
		verifier = bytes.Repeat([]byte{4}, 16)
	)
	p := &part{scanner: newScanner(strings.NewReader(fmt.Sprintf(
		`<k cipherAlgorithm="AES" cipherChaining="ChainingModeCBC" hashAlgorithm="%s" keyBits="%d" spinCount="%d"/>`, hashName, bits, spins)))}
	if _, err := p.next(); err != nil {
		t.Fatal(err)
	}
	k, err := p.agileKey()
	if err != nil {
		t.Fatal(err)
	}
	encrypt := func(key, iv, b []byte) []byte {
		for len(b)%aes.BlockSize != 0 {
			b = append(b, 0)
		}
		c, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, len(b))
		cipher.NewCBCEncrypter(c, iv).CryptBlocks(out, b)
		return out
	}
	base := spin(k.hash(), keySalt, utf16le(password), spins)
	seal := func(blockKey string, b []byte) string {
		return base64.StdEncoding.EncodeToString(encrypt(fit(hashOf(k.hash, base, []byte(blockKey)), bits/8), keySalt, b))
	}
	iv := func(blockKey []byte) []byte { return fit(hashOf(k.hash, dataSalt, blockKey), aes.BlockSize) }
	sealedPack = binary.LittleEndian.AppendUint64(nil, uint64(len(pack)))
	for i := 0; i*segment < len(pack); i++ {
		seg := bytes.Clone(pack[i*segment : min(len(pack), (i+1)*segment)])
		sealedPack = append(sealedPack, encrypt(key, iv(binary.LittleEndian.AppendUint32(nil, uint32(i))), seg)...)
	}
	macKey := bytes.Repeat([]byte{5}, k.hash().Size())
	mac := hmac.New(k.hash, macKey)
	mac.Write(sealedPack)
	integrity := func(blockKey string, b []byte) string {
		return base64.StdEncoding.EncodeToString(encrypt(key, iv([]byte(blockKey)), b))
	}
	attrs := fmt.Sprintf(`saltSize="16" blockSize="16" keyBits="%d" hashSize="%d" cipherAlgorithm="AES" cipherChaining="ChainingModeCBC" hashAlgorithm="%s"`, bits, k.hash().Size(), hashName)
	info = append([]byte{4, 0, 4, 0, 0x40, 0, 0, 0}, fmt.Sprintf(
		`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><encryption xmlns="http://schemas.microsoft.com/office/2006/encryption" xmlns:p="http://schemas.microsoft.com/office/2006/keyEncryptor/password"><keyData %s saltValue="%s"/><dataIntegrity encryptedHmacKey="%s" encryptedHmacValue="%s"/><keyEncryptors><keyEncryptor uri="http://schemas.microsoft.com/office/2006/keyEncryptor/password"><p:encryptedKey spinCount="%d" %s saltValue="%s" encryptedVerifierHashInput="%s" encryptedVerifierHashValue="%s" encryptedKeyValue="%s"/></keyEncryptor></keyEncryptors></encryption>`,
		attrs, base64.StdEncoding.EncodeToString(dataSalt),
		integrity("\x5F\xB2\xAD\x01\x0C\xB9\xE1\xF6", macKey), integrity("\xA0\x67\x7F\x02\xB2\x2C\x84\x33", mac.Sum(nil)),
		spins, attrs, base64.StdEncoding.EncodeToString(keySalt),
		seal("\xFE\xA7\xD2\x76\x3B\x4B\x9E\x79", verifier), seal("\xD7\xAA\x0F\x6D\x30\x61\x34\x4E", hashOf(k.hash, verifier)),
		seal("\x14\x6E\x0B\xE7\xAB\xAC\xD0\xD6", key))...)
	return info, sealedPack
}

func encryptedBook(info, pack []byte) []byte {
	return oleFile([]string{"EncryptedPackage", "EncryptionInfo"}, map[string][]byte{"EncryptedPackage": pack, "EncryptionInfo": info})
}

func password(s string) Options { return Options{Password: ingest.NewSecret(s)} }

func TestAgile(t *testing.T) {
	// A workbook that excelize reads too, of several segments and with a last
	// one that is not whole.
	f := excelize.NewFile()
	for i := range 500 {
		if err := f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &[]any{fmt.Sprintf("text %d", i*i), i}); err != nil {
			t.Fatal(err)
		}
	}
	buf, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	want := mustRead(t, buf.Bytes(), Options{})
	for _, tt := range []struct {
		hash string
		bits int
	}{{"SHA1", 128}, {"SHA256", 128}, {"SHA384", 256}, {"SHA512", 256}} {
		t.Run(tt.hash, func(t *testing.T) {
			info, pack := sealAgile(t, buf.Bytes(), "sécret", tt.hash, tt.bits, 1000)
			b := encryptedBook(info, pack)
			if got := mustRead(t, b, password("sécret")); !slices.Equal(got.rows, want.rows) {
				t.Errorf("%d rows, want %d", len(got.rows), len(want.rows))
			}
			other, err := excelize.OpenReader(bytes.NewReader(b), excelize.Options{Password: "sécret"})
			if err != nil {
				t.Fatalf("excelize: %v", err)
			}
			if v, err := other.GetCellValue("Sheet1", "A500"); v != "text 249001" || err != nil {
				t.Errorf("excelize reads %q, %v", v, err)
			}
			refused(t, b, Options{}, "encrypted; give its `password`")
			refused(t, b, password("secret"), "the password is not the right one")

			// A bit changed anywhere in the package is seen before a record is.
			for _, at := range []int{8, len(pack) / 2, len(pack) - 1} {
				bad := bytes.Clone(pack)
				bad[at] ^= 1
				if got := read(t, encryptedBook(info, bad), password("sécret")); got.err == nil || len(got.rows) > 0 {
					t.Errorf("byte %d changed: %d rows, %v", at, len(got.rows), got.err)
				}
			}
			refused(t, encryptedBook(info, pack[:len(pack)-16]), password("sécret"), "damaged")
		})
	}
}

func TestStandard(t *testing.T) {
	var rows []string
	for i := range 400 {
		rows = append(rows, fmt.Sprintf("text %d|%d", i*i, i))
	}
	plain := newBook(grid(rows...)).zip(t)
	want := mustRead(t, plain, Options{})
	b, err := excelize.Encrypt(plain, &excelize.Options{Password: "pw"})
	if err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, b, password("pw")); !slices.Equal(got.rows, want.rows) {
		t.Errorf("%d rows, want %d", len(got.rows), len(want.rows))
	}
	refused(t, b, Options{}, "encrypted; give its `password`")
	refused(t, b, password("pW"), "the password is not the right one")
}

// incompressible is n bytes that deflate cannot shorten.
func incompressible(n int) string {
	rng := rand.NewChaCha8([32]byte{})
	b := make([]byte, n)
	rng.Read(b)
	return string(b)
}

// Excel opens what is encrypted with its own password unasked.
func TestDefaultPassword(t *testing.T) {
	big := newBook(grid("a", "1")).set("xl/media/image1.png", incompressible(8000)) // excelize garbles small ones
	b, err := excelize.Encrypt(big.zip(t), &excelize.Options{Password: defaultPassword})
	if err != nil {
		t.Fatal(err)
	}
	check(t, mustRead(t, b, Options{}), `{"a":1}`)
}

func TestOLE(t *testing.T) {
	x := make([]byte, 5000)
	for want, names := range map[string][]string{
		".xls); save it as .xlsx": {"Workbook"},
		"Excel 97-2003":           {"Book", "SummaryInformation"},
		"holds no workbook":       {"WordDocument"},
		"rights management":       {"EncryptedPackage"},
		"is not supported":        {"EncryptedPackage", "EncryptionInfo"},
	} {
		streams := map[string][]byte{}
		for _, n := range names {
			streams[n] = x
		}
		refused(t, oleFile(names, streams), Options{}, want)
	}
	info, pack := sealAgile(t, newBook(grid("a", "1")).zip(t), "pw", "SHA1", 128, 10)
	for want, edit := range map[string][2]string{
		"the cipher DES":                   {`"AES"`, `"DES"`},
		"the mode ChainingModeCFB":         {"ChainingModeCBC", "ChainingModeCFB"},
		"the hash MD5":                     {`"SHA1"`, `"MD5"`},
		"settings that no program uses":    {`spinCount="10"`, `spinCount="10000001"`},
		"settings that no program uses (1": {`keyBits="128"`, `keyBits="512"`},
		"is no base64":                     {`saltValue="`, `saltValue="!`},
		"is no number":                     {`spinCount="10"`, `spinCount="x"`},
		"not by a password":                {`p:encryptedKey`, `p:otherKey`},
		"cut short":                        {`</encryption>`, ``},
	} {
		refused(t, encryptedBook(bytes.ReplaceAll(info, []byte(edit[0]), []byte(edit[1])), pack), password("pw"), strings.TrimSuffix(want, " (1"))
	}
}

// However an OLE file is cut or changed, nothing panics or hangs, and only
// the whole package is read.
func TestOLEDamagedAnywhere(t *testing.T) {
	info, pack := sealAgile(t, newBook(grid("a", "1")).zip(t), "pw", "SHA256", 128, 1)
	whole := encryptedBook(info, pack)
	check(t, mustRead(t, whole, password("pw")), `{"a":1}`)
	damage := func(b []byte, what string, at int) {
		got := read(t, b, password("pw"))
		var re *ingest.ReadError
		if got.err == nil && !slices.Equal(got.rows, []string{`{"a":1}`}) || got.err != nil && !errors.As(got.err, &re) {
			t.Fatalf("%s at %d: %q, %v", what, at, got.rows, got.err)
		}
	}
	for cut := 0; cut < len(whole); cut += 29 {
		damage(whole[:cut], "cut", cut)
	}
	for at := 0; at < len(whole); at += 7 {
		b := bytes.Clone(whole)
		b[at] ^= 0xFF
		damage(b, "changed", at)
	}
}

func TestVerifyCancel(t *testing.T) {
	info, pack := sealAgile(t, newBook(grid("a", "1")).zip(t), "pw", "SHA256", 128, 1)
	rd, err := New(input(encryptedBook(info, pack)), password("pw"))
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var c ingest.Chunk
	if err := rd.Read(ctx, &c); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The decrypting reader must read alike however it is asked.
func TestSealedReadAt(t *testing.T) {
	want := make([]byte, 3*segment+1234)
	for i := range want {
		want[i] = byte(i * 31)
	}
	info, pack := sealAgile(t, want, "pw", "SHA512", 256, 1)
	b := encryptedBook(info, pack)
	s, err := unseal(bytes.NewReader(b), int64(len(b)), ingest.NewSecret("pw"))
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off < len(want); off += 777 {
		for _, n := range []int{1, 100, segment, 2*segment + 5, len(want)} {
			p := make([]byte, n)
			got, err := s.ReadAt(p, int64(off))
			if w := want[off:min(len(want), off+n)]; !bytes.Equal(p[:got], w) || (got < n) != (err == io.EOF) || err != nil && err != io.EOF {
				t.Fatalf("%d at %d: %d, %v", n, off, got, err)
			}
		}
	}
}
