package sinktest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A finder tells the ids in a body.
type finder interface {
	// find appends the ids to dst, each ended by a line end.
	find(dst, body []byte) ([]byte, error)
}

func newFinder(field string, exact bool) finder {
	if exact {
		return exactFinder(field)
	}
	return scanner{name: []byte(`"` + field + `":`)}
}

// scanner looks for the field's name and takes the text of the value after it,
// whatever it stands in: a thousand times cheaper than parsing, and right for
// records without objects in them.
type scanner struct{ name []byte }

func (s scanner) find(dst, body []byte) ([]byte, error) {
	for {
		i := bytes.Index(body, s.name)
		if i < 0 {
			return dst, nil
		}
		body = bytes.TrimLeft(body[i+len(s.name):], " ")
		n := 0
		if len(body) > 0 && body[0] == '"' {
			body = body[1:]
			for n < len(body) && body[n] != '"' {
				if body[n] == '\\' {
					n++
				}
				n++
			}
		} else {
			for n < len(body) && bytes.IndexByte([]byte(",}] \n"), body[n]) < 0 {
				n++
			}
		}
		n = min(n, len(body))
		dst = append(append(dst, body[:n]...), '\n')
		body = body[n:]
	}
}

// exactFinder parses: one JSON value or several in a row. The id of an object
// is that of the outermost object that has the field.
type exactFinder string

func (f exactFinder) find(dst, body []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	for {
		var v any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return dst, nil
		} else if err != nil {
			return dst, err
		}
		dst = f.walk(dst, v)
	}
}

func (f exactFinder) walk(dst []byte, v any) []byte {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			dst = f.walk(dst, e)
		}
	case map[string]any:
		if id, ok := v[string(f)]; ok {
			return append(fmt.Append(dst, id), '\n')
		}
		for _, e := range v {
			dst = f.walk(dst, e)
		}
	}
	return dst
}
