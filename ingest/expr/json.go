package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxDepth bounds how deep JSON may be nested.
const maxDepth = 64

var errDepth = fmt.Errorf("nested deeper than %d", maxDepth)

// JSON reads one JSON value as expressions see it: objects and lists, texts,
// booleans, null, and numbers. A number without fraction and exponent that fits
// is an int64 and exact; any other is the nearest float64, so that
// 12345678901234567890.1 loses digits here (nowhere else: what is sent is never
// made of these values). Of names that occur twice the last one counts.
func JSON(b []byte) (any, error) {
	if err := checkDepth(b); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return numbers(v), nil
}

// checkDepth looks at the brackets outside texts; the decoder checks the rest.
func checkDepth(b []byte) error {
	depth, inText := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{', c == '[':
			if depth++; depth > maxDepth {
				return errDepth
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return nil
}

// numbers replaces the numbers of v.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		f, _ := strconv.ParseFloat(v.String(), 64) // beyond its range: infinite
		return f
	case map[string]any:
		for k, e := range v {
			v[k] = numbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = numbers(e)
		}
	}
	return v
}
