package xlsxfmt

import (
	"context"
	"strconv"
)

// readStyles reads the styles that cells refer to by number: for each, how its
// number format shows a number.
func readStyles(ctx context.Context, c *container, name string) ([]style, error) {
	f, err := c.find(name)
	if err != nil || f == nil {
		return nil, err
	}
	p, err := open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := p.root("styleSheet"); err != nil {
		return nil, err
	}
	var (
		own = make(map[int]style) // number formats that the workbook defines
		ids []int
	)
	err = p.children(func(name []byte) error {
		switch string(name) {
		case "numFmts":
			return p.children(func([]byte) error {
				if len(own) == maxSheets {
					return refuse("%s has more than %d number formats", p.member, maxSheets)
				}
				id, err := p.number("numFmtId")
				if err != nil {
					return err
				}
				code, err := p.value("formatCode")
				own[id] = parseFormat(code)
				return err
			})
		case "cellXfs":
			return p.children(func(name []byte) error {
				if string(name) != "xf" {
					return nil
				}
				if len(ids) == maxSheets {
					return refuse("%s has more than %d cell styles", p.member, maxSheets)
				}
				id, err := p.number("numFmtId")
				ids = append(ids, id)
				return err
			})
		}
		return nil
	})
	if err == nil {
		err = p.drain()
	}
	styles := make([]style, len(ids))
	for i, id := range ids {
		var ok bool
		if styles[i], ok = own[id]; !ok {
			styles[i] = builtinStyle(id)
		}
	}
	return styles, p.fail(err)
}

// number is an attribute's value as a number, 0 where it is absent.
func (p *part) number(name string) (int, error) {
	v, err := p.value(name)
	if err != nil || v == "" {
		return 0, err
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, p.bad("attribute " + name + " is no number")
	}
	return n, nil
}
