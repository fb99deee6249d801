// Package httpapi is the sink that sends batches to an HTTP API.
//
// One Send is one POST (or PUT, PATCH, DELETE) and one answer, judged by the
// table in the contract: delivered, had already, refused (*ingest.Reject), a
// wrong address or credentials (*ingest.Halt), not before a time
// (*ingest.RetryAfter), answered record by record (*ingest.Mixed), or any other error: try again, the fate is unknown.
//
// What it promises:
//
//   - Every try of a request carries the same Idempotency-Key and, before
//     Content-Encoding, the same bytes. net/http sends a request again by itself
//     only where a kept-alive connection turned out to be dead.
//   - Redirects are never followed, certificates always checked, environment
//     proxies honoured.
//   - Time and memory are bounded whatever the target does: dial 5 s, TLS
//     handshake 5 s, all of it Options.Timeout; response headers 64 KiB.
//     Of a response body 2 KiB are kept and about 1 MiB read (with Options.Results
//     2 KiB more for each record, at most 64 MiB); then the connection is closed.
//   - The status decides; with Options.Results that of each record. Once a 2xx that means delivered was seen, the request
//     is delivered, even where the response is cut short after it.
//   - A field's value in the URL can form a path segment or a query value and
//     nothing else.
//   - No secret of the sink shows in an error or in an answer that is kept, also
//     where the target sends it back.
//   - Request.Body is not touched any more once Send has returned.
package httpapi

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"ingestd/ingest"
)

// DefaultTimeout bounds a whole request where Options say nothing.
const DefaultTimeout = 30 * time.Second

// Compressions of Options.Compress.
const (
	CompressNone = "none"
	CompressGzip = "gzip"
	CompressZstd = "zstd"
)

// Options describe one target.
type Options struct {
	Name     string            // the sink's name, for messages
	URL      string            // http or https; may hold {pipeline} and {field} in its path and query
	Method   string            // POST (default), PUT, PATCH or DELETE
	Headers  map[string]string // sent with every request; Content-Type and User-Agent win over ours
	Auth     Auth
	TLS      TLS
	Timeout  time.Duration // of a whole request; default DefaultTimeout
	Compress string        // CompressNone (default), CompressGzip or CompressZstd

	Accept    []StatusRange // statuses that mean delivered; nil: 2xx
	Duplicate []StatusRange // statuses that mean it was there already; nil: 409, unless Accept has it

	// Results, where set, says where a 2xx answer tells what became of each
	// record. Send then returns a *ingest.Mixed where not all were taken.
	Results *Results

	MaxConns int    // connections to the target: the sink's concurrency; default 4
	Version  string // for User-Agent

	// Secrets are further texts that must never show: what stands in headers
	// or in the URL and came from the environment or a file.
	Secrets []ingest.Secret

	// AcceptWhen, where set, has the last word on an answer whose status Accept
	// has. nil means delivered and *ingest.Reject a clear refusal; with any other
	// error the fate is unknown and the request is tried again.
	AcceptWhen func(Reply) error
}

// A Sink sends requests to one target. It is safe for concurrent use.
type Sink struct {
	name      string
	method    string
	url       *urlTemplate
	header    http.Header // what every request has; never changed
	host      string      // Host header, where it is not the URL's
	tls       TLS
	timeout   time.Duration
	maxConns  int
	accept    []StatusRange
	duplicate []StatusRange
	encoder   encoder
	weigh     func(Reply) error // nil: the status decides
	results   *itemReader       // nil: an answer is about all of a request
	grant     *grant            // of auth oauth2, or nil
	fixed     []string          // secrets that stay, whatever the credentials

	transport atomic.Pointer[http.Transport]
	creds     atomic.Pointer[credentials]
	renewing  chan struct{}                    // held by who fetches new ones
	accepted  atomic.Bool                      // the target has taken something since the sink was made
	listed    atomic.Bool                      // an answer had results since the sink was made
	shown     atomic.Pointer[x509.Certificate] // by the target, last
	asked     atomic.Bool                      // it asked for a client certificate, and there is none
}

// New checks o and returns its sink. It reads the TLS files and connects to
// nothing.
func New(o Options) (*Sink, error) {
	s := &Sink{
		name:      o.Name,
		timeout:   o.Timeout,
		tls:       o.TLS,
		maxConns:  o.MaxConns,
		accept:    o.Accept,
		duplicate: o.Duplicate,
		weigh:     o.AcceptWhen,
		renewing:  make(chan struct{}, 1),
	}
	if s.timeout <= 0 {
		s.timeout = DefaultTimeout
	}
	if s.maxConns <= 0 {
		s.maxConns = 4
	}
	if s.accept == nil {
		s.accept = []StatusRange{{200, 299}}
	}
	if s.duplicate == nil && (o.Accept == nil || !includes(o.Accept, http.StatusConflict)) {
		s.duplicate = []StatusRange{{http.StatusConflict, http.StatusConflict}}
	}
	var err error
	if s.method, err = checkMethod(o.Method); err != nil {
		return nil, err
	}
	user := o.Auth
	if s.url, err = parseURL(o.URL, &user); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if s.encoder, err = newEncoder(o.Compress); err != nil {
		return nil, err
	}
	if s.results, err = newItemReader(o.Results); err != nil {
		return nil, err
	}
	if s.results != nil && s.weigh != nil {
		return nil, errors.New("accept_when does not go with results, which say what became of each record: leave one of them out")
	}
	if s.results != nil {
		s.results.taken = func(st int) bool { return includes(s.accept, st) || includes(s.duplicate, st) }
	}
	if s.header, s.host, err = staticHeader(o, user); err != nil {
		return nil, err
	}
	s.fixed = fixedSecrets(o, s.url)
	s.url.hide(o.Secrets)
	c, err := s.prepare(user, nil)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	s.creds.Store(c)
	if user.Type == AuthOAuth2 {
		if s.grant, err = newGrant(user, s.clean); err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
	}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

func checkMethod(m string) (string, error) {
	if m == "" {
		return http.MethodPost, nil
	}
	allowed := []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	if !slices.Contains(allowed, m) {
		return "", fmt.Errorf("method: %q is none of %v", m, allowed)
	}
	return m, nil
}

// Host is the target's host and port, for gates and breakers.
func (s *Sink) Host() string { return s.url.hostPort }

// Reload reads the TLS files again. Requests that are out finish on the
// connections they have; on an error the old files stay in force.
func (s *Sink) Reload() error {
	t, err := s.newTransport()
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	if s.grant != nil {
		if err := s.grant.setTransport(t, s.tls); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
	}
	if old := s.transport.Swap(t); old != nil {
		old.CloseIdleConnections()
	}
	return nil
}

// Close closes the connections that nobody uses.
func (s *Sink) Close() error {
	s.transport.Load().CloseIdleConnections()
	if s.grant != nil {
		s.grant.client.Load().CloseIdleConnections()
	}
	return nil
}

// Send sends r once, or twice where the target refused a token and a new one
// could be had.
func (s *Sink) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	c, err := s.credentials(ctx)
	if err != nil {
		return ingest.Answer{}, err
	}
	rep, err := s.exchange(ctx, r, c)
	if err == nil && s.grant != nil && s.unauthorized(rep.status) {
		fresh, rerr := s.renew(ctx, c)
		if rerr != nil {
			return ingest.Answer{}, s.renewFailed(rep, rerr)
		}
		rep, err = s.exchange(ctx, r, fresh)
	}
	if err != nil {
		return ingest.Answer{}, err
	}
	return s.judge(rep)
}

// unauthorized reports whether status asks for other credentials.
func (s *Sink) unauthorized(status int) bool {
	return (status == http.StatusUnauthorized || status == http.StatusForbidden) &&
		!includes(s.accept, status) && !includes(s.duplicate, status)
}

// credentials returns what the next request goes out with. While a token that
// is about to end is replaced, by one sender, the others go on with it.
func (s *Sink) credentials(ctx context.Context) (*credentials, error) {
	c := s.creds.Load()
	if s.grant == nil {
		return c, nil
	}
	usable, old := c.usable(time.Now())
	if usable {
		if !old {
			return c, nil
		}
		select {
		case s.renewing <- struct{}{}:
		default:
			return c, nil
		}
		fresh, err := s.renewLocked(ctx, c)
		<-s.renewing
		if err != nil {
			return c, nil // it still holds; what is wrong shows when it does not
		}
		return fresh, nil
	}
	return s.renew(ctx, c)
}

// renew returns credentials newer than old, fetching them where nobody has yet.
func (s *Sink) renew(ctx context.Context, old *credentials) (*credentials, error) {
	select {
	case s.renewing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a token: %w", context.Cause(ctx))
	}
	defer func() { <-s.renewing }()
	return s.renewLocked(ctx, old)
}

// renewLocked is renew for who holds s.renewing.
func (s *Sink) renewLocked(ctx context.Context, old *credentials) (*credentials, error) {
	if c := s.creds.Load(); c != old {
		return c, nil
	}
	t, err := s.grant.fetch(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.prepare(t.auth, old)
	if err != nil {
		return nil, s.grant.halt("gave a token that cannot be used: %v", err)
	}
	c.renew, c.dead = t.renew, t.dead
	s.creds.Store(c)
	return c, nil
}

// renewFailed is the verdict on a request whose token the target refused while
// no other could be had.
func (s *Sink) renewFailed(rep reply, err error) error {
	var h *ingest.Halt
	if errors.As(err, &h) {
		return err
	}
	return &ingest.Unanswered{
		Err:    s.scrub(fmt.Errorf("%s answered %s, and a new token cannot be had: %v", s.url.shown, statusText(rep.status), err)),
		Answer: rep.answer(),
	}
}

// clean makes foreign text fit for messages.
func (s *Sink) clean(text string) string {
	const most = 300
	return s.creds.Load().redact.clean(text, most)
}
