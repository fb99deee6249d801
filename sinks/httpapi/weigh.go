package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/klauspost/compress/gzip"

	"ingestd/ingest"
)

// A Reply is an answer whose status means delivered, for Options.AcceptWhen to
// look at.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte // all of it, unpacked; at most 1 MiB
}

// weighs reports whether an answer of this status is weighed.
func (s *Sink) weighs(status int) bool {
	return s.weigh != nil && includes(s.accept, status) && !includes(s.duplicate, status)
}

// weighed is AcceptWhen's verdict on rep. An answer that cannot be seen whole
// says nothing: its request may have been taken.
func (s *Sink) weighed(rep reply) error {
	err := rep.broken
	if err == nil {
		err = s.weigh(Reply{Status: rep.status, Header: rep.header, Body: rep.whole})
	}
	if err == nil {
		return nil
	}
	var reject *ingest.Reject
	if errors.As(err, &reject) {
		return &ingest.Reject{
			Reason: rep.redact.clean(fmt.Sprintf("the target answered %s, but %s", statusText(rep.status), reject.Reason), keptAnswer),
			Answer: rep.answer(),
		}
	}
	return &ingest.Unanswered{
		Err:    rep.redact.error(fmt.Errorf("%s %s answered %s, but what it means is unknown: %w", s.method, s.url.shown, statusText(rep.status), err)),
		Answer: rep.answer(),
	}
}

// readWhole reads and unpacks an answer within its limits. The bytes are what
// could be read, also beside an error.
func readWhole(resp *http.Response) ([]byte, error) {
	var src io.Reader = io.LimitReader(resp.Body, maxAnswer+1)
	switch coding := resp.Header.Get("Content-Encoding"); coding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(src)
		if err != nil {
			return nil, fmt.Errorf("the answer is no gzip: %w", err)
		}
		src = io.LimitReader(z, maxAnswer+1)
	default:
		return nil, errors.New("the answer is compressed in a way that nobody asked for")
	}
	b, err := io.ReadAll(src)
	switch {
	case len(b) > maxAnswer:
		return b[:maxAnswer], fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	case err != nil:
		return b, fmt.Errorf("the answer broke off: %w", err)
	}
	return b, nil
}
