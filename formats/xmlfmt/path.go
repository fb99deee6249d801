package xmlfmt

import (
	"fmt"
	"strings"
)

// A path leads from the root to the record element.
type path []string

func parsePath(s string) (path, error) {
	steps := strings.Split(strings.TrimPrefix(s, "/"), "/")
	for _, step := range steps {
		if step == "*" {
			continue
		}
		if reason := checkName([]byte(step)); step == "" || reason != "" {
			return nil, fmt.Errorf("xml: record %q: %q is neither an element's name nor *; write it like Orders/Order", s, step)
		}
	}
	return steps, nil
}

func (p path) String() string { return strings.Join(p, "/") }

// matches reports whether an element at depth (0 is the root) can lie on it.
func (p path) matches(depth int, q *qname) bool {
	return depth < len(p) && (p[depth] == "*" || p[depth] == q.local || p[depth] == q.written)
}
