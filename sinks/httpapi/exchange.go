package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/klauspost/compress/gzip"

	"ingestd/ingest"
)

// Limits of what is read of a response body, in bytes.
const (
	keptAnswer  = 2 << 10  // of it is kept
	maxAnswer   = 1 << 20  // of it is read
	maxDrain    = 64 << 10 // more is read away to keep the connection
	maxLocation = 512
)

// A reply is what came back: all that judging needs, and nothing of net/http.
type reply struct {
	status     int
	location   string // 3xx: the new address
	retryAfter string
	date       string
	body       string // cleaned and cut

	// For AcceptWhen, where the status would mean delivered.
	header http.Header
	whole  []byte
	broken error // why whole is not all of it
	redact *redactor
	reply  *ingest.Reply // all of it, where somebody waits for that
	list   *list         // what it says of each record; nil where it is not asked
}

func (r reply) answer() ingest.Answer {
	return ingest.Answer{Status: r.status, Body: r.body, Reply: r.reply}
}

// exchange sends r with c and returns the reply. An error means that there is
// none.
func (s *Sink) exchange(ctx context.Context, r *ingest.Request, c *credentials) (reply, error) {
	target := c.target
	if target == nil {
		var err error
		if target, err = s.url.expand(r, c.query); err != nil {
			return reply{}, err
		}
	}
	out, free, err := s.encoder.encode(r.Body)
	if err != nil {
		return reply{}, fmt.Errorf("compress the request: %w", err)
	}
	p := &payload{b: out, free: free}
	defer p.release()
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	header, red := s.requestHeader(r, c), c.redact
	if c.signer != nil {
		red = red.with(c.signer.sign(header, s.method, target.RequestURI(), r.Key, out, time.Now()))
	}

	req := (&http.Request{
		Method:        s.method,
		URL:           target,
		Host:          s.host,
		Header:        header,
		Body:          http.NoBody,
		ContentLength: int64(len(out)),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
	}).WithContext(httptrace.WithClientTrace(bounded, p.trace()))
	if len(out) > 0 {
		req.Body, req.GetBody = p.reader(), p.again
	}
	resp, err := s.transport.Load().RoundTrip(req)
	if err != nil {
		return reply{}, s.unanswered(ctx, bounded, red, err)
	}
	defer resp.Body.Close()
	s.see(resp)
	rep := reply{
		status:     resp.StatusCode,
		retryAfter: resp.Header.Get("Retry-After"),
		date:       resp.Header.Get("Date"),
		redact:     red,
	}
	if resp.StatusCode/100 == 3 {
		rep.location = location(resp, red)
	}
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
	case s.results != nil && resp.StatusCode/100 == 2 && resp.StatusCode != http.StatusNoContent && !includes(s.duplicate, resp.StatusCode):
		if rep.body, rep.list, err = s.results.read(resp, r.Records, red); err != nil {
			err = fmt.Errorf("%s %s answered %s: %w", s.method, s.url.shown, statusText(rep.status), err)
			return reply{}, &ingest.Unanswered{Err: red.error(err), Answer: rep.answer()}
		}
	case s.weighs(resp.StatusCode):
		rep.header = resp.Header
		rep.whole, rep.broken = readWhole(resp)
		rep.body = red.clean(string(rep.whole[:min(len(rep.whole), keptAnswer+red.longest)]), keptAnswer)
	case r.Whole:
		rep.whole, _ = readWhole(resp) // the status has been seen, and decides
		rep.body = red.clean(string(rep.whole[:min(len(rep.whole), keptAnswer+red.longest)]), keptAnswer)
	default:
		rep.body = readAnswer(resp, red)
	}
	if r.Whole {
		if rep.whole == nil {
			rep.whole = []byte(rep.body)
		}
		rep.reply = wholeReply(resp, rep.whole, red)
	}
	return rep, nil
}

// unanswered words a failure of the network.
func (s *Sink) unanswered(ctx, bounded context.Context, red *redactor, err error) error {
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("interrupted: %w", context.Cause(ctx))
	case bounded.Err() != nil:
		err = fmt.Errorf("no answer within %v: %w", s.timeout, context.DeadlineExceeded)
	default:
		err = s.explain(err)
	}
	return &ingest.Unanswered{Err: red.error(fmt.Errorf("%s %s: %w", s.method, s.url.shown, err))}
}

func (s *Sink) scrub(err error) error { return s.creds.Load().redact.error(err) }

// location is where a redirect leads, for a person to read.
func location(resp *http.Response, red *redactor) string {
	u, err := resp.Location()
	if err != nil {
		return ""
	}
	u.User = nil
	return red.clean(u.String(), maxLocation)
}

// readAnswer reads the body within its limits and returns its beginning, clean.
// An error on the way ends it: the status has been seen, and decides.
func readAnswer(resp *http.Response, red *redactor) string {
	if resp.ContentLength == 0 {
		return ""
	}
	// A secret that the limit would cut in two must be seen whole to be cut out.
	limit := keptAnswer + red.longest
	size := limit
	if n := resp.ContentLength; n > 0 && n < int64(size) {
		size = int(n)
	}
	head := make([]byte, size)
	n, err := io.ReadFull(resp.Body, head)
	head = head[:n]
	if err == nil {
		io.CopyN(io.Discard, resp.Body, maxAnswer+maxDrain-int64(n))
	}
	switch resp.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		head = gunzipped(head, limit)
	default:
		return "(the answer is compressed)"
	}
	return red.clean(string(head), keptAnswer)
}

// gunzipped is the beginning of what head unpacks to.
func gunzipped(head []byte, limit int) []byte {
	z, err := gzip.NewReader(bytes.NewReader(head))
	if err != nil {
		return []byte("(the answer is no gzip)")
	}
	out := make([]byte, limit)
	n, err := io.ReadFull(z, out)
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		return []byte("(the answer is broken gzip)")
	}
	return out[:n]
}
