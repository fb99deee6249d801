package formats

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf16"

	"ingestd/ingest"
)

const adviceXLS = "the old Excel format (.xls) is not read; open it in Excel or LibreOffice and save it as .xlsx, or ask the sender for .xlsx or CSV"

// isOLE knows a compound file ([MS-CFB], section 2.2): an old Office file, or
// an encrypted new one.
func isOLE(head []byte) bool {
	return bytes.HasPrefix(head, []byte{0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1})
}

// checkOLE lets encrypted workbooks through and says what anything else is.
func (o *opener) checkOLE(in ingest.Input) error {
	names := streams(in)
	has := func(name string) bool { return slices.Contains(names, name) }
	switch {
	case has("EncryptedPackage"):
		return nil
	case has("Workbook"), has("Book"):
		return refuse("xls", adviceXLS)
	case has("WordDocument"):
		return refuse(o.wanted(), "the file is a Word document; ask the sender for CSV or .xlsx")
	}
	return refuse(o.wanted(), "the file is an old Office file, or a damaged one; save it as .xlsx or CSV")
}

// streams lists the names in a compound file's directory, as far as its first
// sectors go; none where it is damaged.
func streams(in ingest.Input) []string {
	var header [512]byte
	if _, err := in.ReadAt(header[:], 0); err != nil {
		return nil
	}
	shift := binary.LittleEndian.Uint16(header[0x1E:])
	if shift != 9 && shift != 12 {
		return nil
	}
	const most = 64 // sectors of a directory that are looked at
	var (
		names  []string
		sector = make([]byte, 1<<shift)
		perFAT = uint32(1) << (shift - 2)
		next   = binary.LittleEndian.Uint32(header[0x30:])
	)
	for range most {
		if next >= 0xFFFFFFFA {
			break
		}
		if _, err := in.ReadAt(sector, (int64(next)+1)<<shift); err != nil {
			break
		}
		for entry := range slices.Chunk(sector, 128) {
			size := int(binary.LittleEndian.Uint16(entry[64:]))
			if size < 4 || size > 64 {
				continue
			}
			units := make([]uint16, size/2-1)
			for i := range units {
				units[i] = binary.LittleEndian.Uint16(entry[2*i:])
			}
			names = append(names, string(utf16.Decode(units)))
		}
		i := next / perFAT
		if i >= 109 {
			break
		}
		table := int64(binary.LittleEndian.Uint32(header[0x4C+4*i:]))
		var link [4]byte
		if _, err := in.ReadAt(link[:], (table+1)<<shift+4*int64(next%perFAT)); err != nil {
			break
		}
		next = binary.LittleEndian.Uint32(link[:])
	}
	return names
}
