package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// An IDPlace is where a sender puts an event's id, where its scheme does not
// say: a header's name, or a path in the body.
type IDPlace struct {
	Header string
	Path   string // member names with full stops between them
}

// find returns the id; "" where there is none that can be used.
func (p IDPlace) find(h http.Header, body []byte) string {
	switch {
	case p.Header != "":
		return usable(h.Get(p.Header))
	case p.Path != "":
		text, _ := bodyText(body, p.Path)
		return usable(text)
	}
	return ""
}

// bodyText is the string or number at a path of a JSON body.
func bodyText(body []byte, path string) (string, bool) {
	value := json.RawMessage(body)
	for name := range strings.SplitSeq(path, ".") {
		var members map[string]json.RawMessage
		if json.Unmarshal(value, &members) != nil {
			return "", false
		}
		var ok bool
		if value, ok = members[name]; !ok {
			return "", false
		}
	}
	value = bytes.TrimSpace(value)
	var s string
	if json.Unmarshal(value, &s) == nil && len(value) > 0 && value[0] == '"' {
		return s, true
	}
	var n json.Number
	if json.Unmarshal(value, &n) == nil && len(value) > 0 && value[0] != 'n' {
		return n.String(), true
	}
	return "", false
}
