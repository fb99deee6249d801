package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingestd/ingest"
)

// A Notice is what is sent: the fields that a template may use.
type Notice struct {
	Kind     string `json:"kind"`
	Severity string `json:"severity"`
	Pipeline string `json:"pipeline"` // "" where it concerns all
	Arrival  string `json:"arrival"`  // "" where there is none
	Name     string `json:"name"`
	Message  string `json:"message"`
	Action   string `json:"action"`
	Since    string `json:"since"` // RFC 3339, UTC
	Over     bool   `json:"over"`
	URL      string `json:"url"`
}

func (n *Notice) field(name string) string {
	switch name {
	case "kind":
		return n.Kind
	case "severity":
		return n.Severity
	case "pipeline":
		return n.Pipeline
	case "arrival":
		return n.Arrival
	case "name":
		return n.Name
	case "message":
		return n.Message
	case "action":
		return n.Action
	case "since":
		return n.Since
	case "over":
		return strconv.FormatBool(n.Over)
	}
	return n.URL
}

// IsField reports whether a URL may hold {name} for alerts.
func IsField(name string) bool {
	return slices.ContainsFunc((&Notice{}).vars(), func(v ingest.Var) bool { return v.Name == name })
}

// vars are the fields for a sink's URL.
func (n *Notice) vars() []ingest.Var {
	var out []ingest.Var
	for _, name := range []string{"kind", "severity", "arrival", "name", "message", "action", "since", "over", "url"} {
		out = append(out, ingest.Var{Name: name, Value: n.field(name)})
	}
	return out
}

// JSON is the notice as an object.
func (n *Notice) JSON() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(n) // strings and a bool
	return bytes.TrimRight(b.Bytes(), "\n")
}

// A Body says how a notice becomes the bytes of one request.
type Body struct {
	open, close string // around the object
	contentType string
	parts       []part // of a template
}

// A part is text of a template, and the field that follows it.
type part struct {
	text   string
	field  string // "" at the end
	quoted bool   // it stands in a JSON string
}

// NewBody makes the body of an alert sink: "object", "array" and "ndjson" have
// the notice as a JSON object, "template" has its fields in the template.
//
// In a template that is JSON (it begins with { or [) a field within a string is
// escaped for it, and one that stands alone becomes a value: {over} a boolean,
// {record} the whole object, {records} an array of it, all others a string. In
// other templates fields stand as they are. Fields hold no line ends.
func NewBody(kind, template string) (*Body, error) {
	switch kind {
	case "object":
		return &Body{contentType: "application/json"}, nil
	case "array":
		return &Body{contentType: "application/json", open: "[", close: "]"}, nil
	case "ndjson":
		return &Body{contentType: "application/x-ndjson", close: "\n"}, nil
	case "template":
		return parseTemplate(template)
	}
	return nil, fmt.Errorf("body: alerts go with object, array, ndjson or template, not %q", kind)
}

const fields = `\{(kind|severity|pipeline|arrival|name|message|action|since|over|url|record|records)\}`

func parseTemplate(text string) (*Body, error) {
	b := &Body{contentType: "text/plain; charset=utf-8"}
	trimmed := strings.TrimSpace(text)
	isJSON := strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[")
	if isJSON {
		b.contentType = "application/json"
	}
	rest, inside := 0, !isJSON
	for _, at := range regexp.MustCompile(fields).FindAllStringSubmatchIndex(text, -1) {
		before := text[rest:at[0]]
		if isJSON {
			inside = insideString(before, inside)
		}
		b.parts = append(b.parts, part{text: before, field: text[at[2]:at[3]], quoted: inside})
		rest = at[1]
	}
	b.parts = append(b.parts, part{text: text[rest:]})
	if len(b.parts) == 1 {
		return nil, errors.New("template: holds no field of an alert, such as {message}")
	}
	if isJSON {
		sample := Notice{Kind: "test", Message: `a "b" \ c`, Since: time.Unix(0, 0).UTC().Format(time.RFC3339)}
		out, _ := b.Render(&sample)
		if err := json.Unmarshal(out, new(any)); err != nil {
			return nil, fmt.Errorf("template: does not make valid JSON: %w", err)
		}
	}
	return b, nil
}

// insideString reports whether s, which begins inside a JSON string or not,
// ends inside one.
func insideString(s string, inside bool) bool {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			inside = !inside
		case s[i] == '\\' && inside:
			i++
		}
	}
	return inside
}

// Render makes the bytes of a request, and says what they are.
func (b *Body) Render(n *Notice) (body []byte, contentType string) {
	if b.parts == nil {
		return append(append([]byte(b.open), n.JSON()...), b.close...), b.contentType
	}
	var out []byte
	for _, p := range b.parts {
		out = append(out, p.text...)
		isJSON := b.contentType == "application/json"
		switch {
		case p.field == "":
			continue
		case p.field == "record", p.field == "records":
			v := n.JSON()
			if p.field == "records" {
				v = append(append([]byte("["), v...), ']')
			}
			if p.quoted && isJSON {
				v = inner(string(v))
			}
			out = append(out, v...)
		case !isJSON:
			out = append(out, n.field(p.field)...)
		case p.quoted:
			out = append(out, inner(n.field(p.field))...)
		case p.field == "over":
			out = append(out, n.field(p.field)...)
		default:
			out = ingest.AppendString(out, []byte(n.field(p.field)))
		}
	}
	return out, b.contentType
}

// inner is s as the inside of a JSON string.
func inner(s string) []byte {
	q := ingest.AppendString(nil, []byte(s))
	return q[1 : len(q)-1]
}
