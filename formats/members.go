package formats

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"ingestd/ingest"
)

// members reads the files of an archive one after the other, in the order in
// which they stand there, as the records of one arrival. Ordinals run on; lines,
// columns and offsets are those of the file, which the reasons of faults name.
type members struct {
	o       *opener
	files   []*zip.File
	details ingest.Details

	next int // of files
	name string
	cur  ingest.Reader // nil between two files
	base int64         // ordinals of the files before cur
	last int64
	err  error
}

// openMembers opens the files of an archive. Each is begun once beforehand, so
// that one that is no such file, or has other columns than the first, is found
// out before any record is given.
func (o *opener) openMembers(z *zipFile, files []*zip.File) (ingest.Reader, error) {
	m := &members{o: o, files: files}
	spent := *o.spent
	var first string // the file that says how all are read
	for _, f := range files {
		name := memberName(f)
		d, any, err := m.begin(f)
		if err != nil {
			return nil, err
		}
		if !any {
			continue // it has no records, and perhaps no bytes
		}
		if first == "" {
			first, m.details = name, d
			continue
		}
		if what := differs(m.details, d); what != "" {
			return nil, refuse("zip", "%s and %s in the archive differ in %s; files of one kind are read together, send the others by themselves", quoted(first), quoted(name), what)
		}
	}
	if first == "" {
		m.details.Format = cmp.Or(m.details.Format, o.wanted())
	}
	*o.spent = spent
	o.note("members", fmt.Sprint(len(files)), list(files)+", one after the other")
	return &reader{Reader: m, found: o}, nil
}

// differs says in what two files cannot be read together.
func differs(a, b ingest.Details) string {
	note := func(d ingest.Details, what string) string {
		i := slices.IndexFunc(d.Notes, func(n ingest.Note) bool { return n.What == what })
		if i < 0 {
			return ""
		}
		return d.Notes[i].Value
	}
	switch {
	case a.Format != b.Format:
		return fmt.Sprintf("format (%s, %s)", a.Format, b.Format)
	case !slices.Equal(a.Header, b.Header):
		return fmt.Sprintf("columns (%s; %s)", names(a.Header), names(b.Header))
	case note(a, "delimiter") != note(b, "delimiter"):
		return fmt.Sprintf("delimiter (%q, %q)", note(a, "delimiter"), note(b, "delimiter"))
	case note(a, "record") != note(b, "record"):
		return fmt.Sprintf("the element that is a record (%s, %s)", note(a, "record"), note(b, "record"))
	}
	return ""
}

// names shows the first few.
func names(header []string) string {
	const most = 12
	var s []string
	for _, n := range header[:min(len(header), most)] {
		s = append(s, quoted(n))
	}
	if len(header) > most {
		s = append(s, "…")
	}
	return strings.Join(s, ", ")
}

// begin reads a file's first chunk, and says whether there is anything in it.
func (m *members) begin(f *zip.File) (d ingest.Details, any bool, err error) {
	r, err := m.open(m.o.ctx, f)
	if err != nil {
		return d, false, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var c ingest.Chunk
	err = r.Read(m.o.ctx, &c)
	d, any = r.Details(), len(c.Records)+len(c.Faults) > 0
	if d.Header != nil {
		any = true // a file of a header alone says how it is read, too
	}
	var re *ingest.ReadError
	switch {
	case err == io.EOF:
		err = nil
	case errors.As(err, &re):
		if any {
			err = nil // it is told in its place
		} else {
			err = inMember(memberName(f), 0, err)
		}
	}
	d.Header = slices.Clone(d.Header)
	return d, any, err
}

// open opens a file of the archive as if it had come by itself.
func (m *members) open(ctx context.Context, f *zip.File) (ingest.Reader, error) {
	o := &opener{ctx: ctx, spec: m.o.spec, limits: m.o.limits, packed: m.o.packed, layers: m.o.layers, spent: m.o.spent, many: true}
	r, err := o.openMember(m.o.name, f)
	if err != nil {
		return nil, errors.Join(inMember(memberName(f), 0, err), o.close())
	}
	return r, nil
}

func (o *opener) openMember(archive string, f *zip.File) (ingest.Reader, error) {
	r, err := o.member(archive, f)
	if err != nil {
		return nil, err
	}
	c, err := o.unpackFrom(layer{stream: o.bound("zip", r)})
	if err != nil {
		return nil, err
	}
	return o.openContent(c)
}

// inMember names the file of an archive that a ReadError is about.
func inMember(name string, base int64, err error) error {
	var re *ingest.ReadError
	if !errors.As(err, &re) {
		return fmt.Errorf("%s in the archive: %w", quoted(name), err)
	}
	named := *re
	named.Reason = "in " + quoted(name) + ": " + re.Reason
	if named.Pos.Record > 0 {
		named.Pos.Record += base
	}
	return &named
}

// Read implements ingest.Reader.
func (m *members) Read(ctx context.Context, c *ingest.Chunk) error {
	c.Reset()
	for m.err == nil {
		if m.cur == nil {
			if m.next == len(m.files) {
				m.err = io.EOF
				break
			}
			f := m.files[m.next]
			m.next++
			if m.cur, m.err = m.open(ctx, f); m.err != nil {
				m.cur = nil
				break
			}
			m.name, m.base = memberName(f), m.last
		}
		err := m.cur.Read(ctx, c)
		m.place(c)
		switch {
		case err == nil:
			return nil
		case err != io.EOF:
			m.err = inMember(m.name, m.base, err)
			return m.err
		}
		err = m.cur.Close()
		m.cur, m.err = nil, err
	}
	return m.err
}

// place gives a chunk of the file its ordinals in the arrival, and its faults
// the file's name.
func (m *members) place(c *ingest.Chunk) {
	for i := range c.Records {
		p := &c.Records[i].Pos
		p.Record += m.base
		m.last = max(m.last, p.Record)
	}
	for i := range c.Faults {
		f := &c.Faults[i]
		f.Pos.Record += m.base
		m.last = max(m.last, f.Pos.Record)
		f.Reason = "in " + quoted(m.name) + ": " + f.Reason
	}
}

// Details implements ingest.Reader: how the first file is read, and so all.
func (m *members) Details() ingest.Details { return m.details }

// Close implements ingest.Reader.
func (m *members) Close() error {
	if m.err == nil {
		m.err = errors.New("zip: read after close")
	}
	if m.cur == nil {
		return nil
	}
	err := m.cur.Close()
	m.cur = nil
	return err
}

// left knows what file managers leave behind in archives.
func left(name string) bool {
	base := path.Base(name)
	switch strings.ToLower(base) {
	case ".ds_store", "thumbs.db", "desktop.ini":
		return true
	}
	return strings.HasPrefix(name, "__MACOSX/") || strings.HasPrefix(base, "._")
}
