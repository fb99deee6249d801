package formats

import (
	"path"
	"strconv"
	"strings"
)

// byExt is what the ends of names say, without a pack's end.
func byExt(ext string) (format string, known bool) {
	switch strings.ToLower(ext) {
	case ".csv", ".tsv":
		return CSV, true
	case ".txt":
		return "", true // any text
	case ".json", ".ndjson", ".jsonl":
		return JSON, true
	case ".xml":
		return XML, true
	case ".xlsx", ".xlsm":
		return XLSX, true
	}
	return "", false
}

// Known reports whether a file's name, case ignored, is one that a format
// knows: the default of a source's `match`. It looks at the last part of a
// path only.
func Known(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	switch ext {
	case ".gz", ".zip":
		return true
	case ".zst":
		_, known := byExt(path.Ext(unpackedName(name)))
		return known
	}
	_, known := byExt(ext)
	return known
}

// typeByName is the format that a name promises; "" where it promises none.
func typeByName(name string) string {
	t, _ := byExt(path.Ext(unpackedName(name)))
	return t
}

// unpackedName is a name without the ends that packers add.
func unpackedName(name string) string {
	for {
		ext := path.Ext(name)
		switch strings.ToLower(ext) {
		case ".gz", ".zst", ".zip":
			name = strings.TrimSuffix(name, ext)
		default:
			return name
		}
	}
}

// article is a format's name for people, as it stands in a sentence.
func article(format string) string {
	switch format {
	case XLSX:
		return "an Excel workbook"
	case XML:
		return "an XML file"
	case CSV, JSON:
		return "a " + strings.ToUpper(format) + " file"
	}
	return "a " + format + " file"
}

// quoted is a name for a message.
func quoted(name string) string { return strconv.QuoteToGraphic(name) }
