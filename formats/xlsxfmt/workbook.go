package xlsxfmt

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// maxSheets bounds the sheets, styles and relations that are looked at.
const maxSheets = 1 << 16

// A workbook is what its main part and the relations around it say.
type workbook struct {
	is1904  bool
	sheets  []sheetRef
	strings string // the parts' names; "" = there is none
	styles  string
}

// A sheetRef is one tab.
type sheetRef struct {
	name   string
	state  string // "", "visible", "hidden", "veryHidden"
	kind   string // of the relation: "worksheet", "chartsheet", …; "" = unknown
	target string // the part's name
}

func (s sheetRef) hidden() bool    { return s.state != "" && s.state != "visible" }
func (s sheetRef) worksheet() bool { return s.kind == "worksheet" }

// A relation is what a .rels part says of one target.
type relation struct{ id, kind, target string }

func readWorkbook(ctx context.Context, c *container) (*workbook, error) {
	name, err := mainPart(ctx, c)
	if err != nil {
		return nil, err
	}
	f, err := c.find(name)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, notWorkbook(c)
	}
	rels, err := readRelations(ctx, c, name)
	if err != nil {
		return nil, err
	}
	p, err := open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := p.root("workbook"); err != nil {
		return nil, err
	}
	w := &workbook{}
	byID := make(map[string]relation, len(rels))
	for _, r := range rels {
		byID[r.id] = r
		switch r.kind {
		case "sharedstrings":
			w.strings = r.target
		case "styles":
			w.styles = r.target
		}
	}
	err = p.children(func(name []byte) error {
		switch string(name) {
		case "workbookPr":
			v, err := p.value("date1904")
			w.is1904 = v == "1" || v == "true"
			return err
		case "sheets":
			return p.children(func(name []byte) error {
				if string(name) != "sheet" {
					return nil
				}
				if len(w.sheets) == maxSheets {
					return refuse("the workbook has more than %d sheets", maxSheets)
				}
				s, err := readSheetRef(p, byID)
				w.sheets = append(w.sheets, s)
				return err
			})
		}
		return nil
	})
	if err == nil {
		err = p.drain()
	}
	return w, p.fail(err)
}

func readSheetRef(p *part, rels map[string]relation) (s sheetRef, err error) {
	if s.name, err = p.value("name"); err != nil {
		return s, err
	}
	if s.state, err = p.value("state"); err != nil {
		return s, err
	}
	id, err := p.value("id") // r:id
	r := rels[id]
	s.kind, s.target = r.kind, r.target
	return s, err
}

// mainPart finds the workbook's part by the package's relations, or where
// Excel puts it.
func mainPart(ctx context.Context, c *container) (string, error) {
	rels, err := readRelations(ctx, c, "")
	if err != nil {
		return "", err
	}
	for _, r := range rels {
		if r.kind == "officedocument" {
			return r.target, nil
		}
	}
	return "xl/workbook.xml", nil
}

// notWorkbook says what else a zip without a workbook is.
func notWorkbook(c *container) error {
	for name, kind := range map[string]string{
		"xl/workbook.bin":    "a binary workbook (.xlsb)",
		"content.xml":        "an OpenDocument file",
		"word/document.xml":  "a Word document",
		"index/document.iwa": "a Numbers document",
	} {
		if _, ok := c.parts[name]; ok {
			return refuse("it is %s; save it as .xlsx", kind)
		}
	}
	return refuse("it is a zip without a workbook in it")
}

// readRelations reads the relations of a part, of the package for "". Kinds
// are the last element of their type, in lower case: strict and transitional
// workbooks differ in what comes before.
func readRelations(ctx context.Context, c *container, of string) ([]relation, error) {
	dir, base := path.Split(of)
	f, err := c.find(dir + "_rels/" + base + ".rels")
	if err != nil || f == nil {
		return nil, err
	}
	p, err := open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := p.root("Relationships"); err != nil {
		return nil, err
	}
	var rels []relation
	err = p.children(func(name []byte) error {
		if string(name) != "Relationship" {
			return nil
		}
		if len(rels) == maxSheets {
			return refuse("%s has more than %d relations", p.member, maxSheets)
		}
		var (
			v    [4]string
			err  error
			keys = [4]string{"Id", "Type", "Target", "TargetMode"}
		)
		for i, k := range keys {
			if v[i], err = p.value(k); err != nil {
				return err
			}
		}
		if v[3] != "External" {
			rels = append(rels, relation{v[0], strings.ToLower(path.Base(v[1])), resolve(dir, v[2])})
		}
		return nil
	})
	if err == nil {
		err = p.drain()
	}
	return rels, p.fail(err)
}

// resolve makes a relation's target a member's name. It cannot climb out: the
// names are only looked up in the zip.
func resolve(dir, target string) string {
	if t, err := url.PathUnescape(target); err == nil {
		target = t
	}
	target = strings.ReplaceAll(target, `\`, "/")
	if !strings.HasPrefix(target, "/") {
		target = "/" + dir + target
	}
	return strings.TrimPrefix(path.Clean(target), "/")
}

// choose finds the sheet to read and says why it is that one.
func (w *workbook) choose(want string) (s sheetRef, why string, err error) {
	if want == "" {
		return w.chooseVisible()
	}
	for _, s := range w.sheets {
		if s.name == want {
			return checked(s, "named in the configuration")
		}
	}
	// Excel knows no two names that differ in case only.
	for _, s := range w.sheets {
		if strings.EqualFold(s.name, want) {
			return checked(s, fmt.Sprintf("named %q in the configuration", want))
		}
	}
	if n, err := strconv.Atoi(want); err == nil {
		left := n
		for _, s := range w.sheets {
			if s.worksheet() {
				if left--; left == 0 {
					return checked(s, fmt.Sprintf("worksheet %d", n))
				}
			}
		}
	}
	return s, "", refuse("there is no sheet %q; the workbook has %s", want, w.list())
}

func (w *workbook) chooseVisible() (s sheetRef, why string, err error) {
	hidden := 0
	for _, s := range w.sheets {
		switch {
		case s.worksheet() && !s.hidden():
			n := w.count()
			if n == 1 {
				return checked(s, "the only worksheet")
			}
			return checked(s, fmt.Sprintf("the first visible one of %d worksheets", n))
		case s.worksheet():
			hidden++
		}
	}
	if hidden > 0 {
		return s, "", refuse("all worksheets are hidden; name one with `sheet`: the workbook has %s", w.list())
	}
	return s, "", refuse("the workbook has no worksheet")
}

func (w *workbook) count() (n int) {
	for _, s := range w.sheets {
		if s.worksheet() {
			n++
		}
	}
	return n
}

func checked(s sheetRef, why string) (sheetRef, string, error) {
	switch {
	case s.kind == "":
		return s, "", refuse("the workbook does not say where its sheet %q is", s.name)
	case !s.worksheet():
		return s, "", refuse("sheet %q is no worksheet but a %s", s.name, s.kind)
	case s.hidden():
		why += "; it is hidden"
	}
	return s, why, nil
}

// list is the sheets' names, for people.
func (w *workbook) list() string {
	const most = 20
	var b strings.Builder
	for i, s := range w.sheets {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(w.sheets)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.60q", s.name)
		if s.hidden() {
			b.WriteString(" (hidden)")
		}
	}
	if b.Len() == 0 {
		return "none"
	}
	return b.String()
}
