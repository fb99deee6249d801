package daemon

import (
	"slices"
	"strconv"
	"strings"

	"ingestd/formats"
	"ingestd/formats/csvfmt"
)

// Pin is the config line that reads a file in the form that was detected, or
// empty where nothing was to detect.
func (s *PreviewSummary) Pin() string {
	note := func(what string) (string, bool) {
		i := slices.IndexFunc(s.Notes, func(n PreviewNote) bool { return n.What == what })
		if i < 0 {
			return "", false
		}
		return s.Notes[i].Value, true
	}
	var keys []string
	add := func(key, value string) { keys = append(keys, key+": "+value) }
	add("type", s.Format)
	switch s.Format {
	case formats.CSV:
		for _, what := range []string{
			csvfmt.NoteDelimiter, csvfmt.NoteQuote, csvfmt.NoteEscape, csvfmt.NoteHeader, csvfmt.NoteColumns,
			csvfmt.NoteSkipRows, csvfmt.NoteComment, csvfmt.NoteTrim,
		} {
			value, found := note(what)
			switch {
			case !found, what == csvfmt.NoteDelimiter && value == ",", what == csvfmt.NoteHeader && value == "true" && !s.has(csvfmt.NoteColumns):
			case what == csvfmt.NoteQuote && value == csvfmt.NoneValue:
				add(what, `""`)
			case what == csvfmt.NoteDelimiter, what == csvfmt.NoteQuote, what == csvfmt.NoteEscape, what == csvfmt.NoteComment:
				add(what, yamlText(value))
			default:
				add(what, value)
			}
		}
		if e := s.Encoding; e != "" && e != "utf-8" {
			add("encoding", e)
		}
	case formats.XML:
		if path, found := note("record"); found {
			add("record", yamlText(path))
		}
	case formats.XLSX:
		if sheet, found := note("sheet"); found {
			add("sheet", yamlText(sheet))
		}
		if row, found := note("header row"); found {
			if row == "none" {
				row = "0"
			}
			add("header_row", row)
		}
	case formats.JSON:
	default:
		return ""
	}
	if len(keys) == 1 {
		return "format: " + s.Format
	}
	return "format: {" + strings.Join(keys, ", ") + "}"
}

func (s *PreviewSummary) has(what string) bool {
	return slices.ContainsFunc(s.Notes, func(n PreviewNote) bool { return n.What == what })
}

// yamlText is s as a double-quoted scalar (YAML 1.2, 7.3.1), whose escapes for
// these are Go's.
func yamlText(s string) string { return strconv.QuoteToASCII(s) }
