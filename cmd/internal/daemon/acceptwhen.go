package daemon

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"ingestd/ingest"
	"ingestd/ingest/expr"
	"ingestd/sinks/httpapi"
)

// acceptWhen compiles a sink's accept_when; nil where there is none.
//
// What it says of an answer: true is delivered. False is a clear refusal, and
// so is a JSON answer over which the expression has no value: the target did
// answer, and did not say yes. A body that is no JSON though the expression
// looks into it (a login page, a proxy's error, an empty or broken answer)
// tells nothing, so the request is tried again.
func acceptWhen(source string) (func(httpapi.Reply) error, error) {
	if source == "" {
		return nil, nil
	}
	p, err := expr.Compile(source, expr.Options{
		Names: map[string]any{"status": 0, "headers": map[string]string{}, "body": nil},
		Fold:  []string{"headers"}, Bool: true,
	})
	if err != nil {
		return nil, fmt.Errorf("accept_when: %w", err)
	}
	return func(r httpapi.Reply) error {
		body, bad := expr.JSON(r.Body)
		if len(bytes.TrimSpace(r.Body)) > 0 && bad != nil {
			body = string(r.Body) // texts can be looked at too: body contains "OK"
		}
		ok, err := p.Bool(map[string]any{"status": r.Status, "headers": lowered(r.Header), "body": body})
		switch {
		case err != nil && len(bytes.TrimSpace(r.Body)) == 0:
			return fmt.Errorf("accept_when (%s): the body is empty", source)
		case err != nil && bad != nil:
			return fmt.Errorf("accept_when (%s): the body is no JSON: %w", source, bad)
		case err != nil:
			return &ingest.Reject{Reason: fmt.Sprintf("accept_when (%s) does not hold: %v", source, err)}
		case !ok:
			return &ingest.Reject{Reason: fmt.Sprintf("accept_when (%s) does not hold", source)}
		}
		return nil
	}, nil
}

// lowered is a header as expressions see it: names in lower case, the values of
// one name joined.
func lowered(h http.Header) map[string]string {
	out := make(map[string]string, len(h))
	for name, values := range h {
		out[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return out
}
