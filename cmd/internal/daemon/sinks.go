package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/time/rate"

	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/admin"
	"ingestd/ingest/pipeline"
	"ingestd/ingest/schedule"
	"ingestd/sinks"
	"ingestd/sinks/file"
	"ingestd/sinks/httpapi"
	"ingestd/sinks/stdout"
)

// An outlet is a configured sink, made.
type outlet struct {
	pipeline.SinkOptions
	connect func(context.Context) error // tries it without a request; nil: nothing to try
	test    func(ctx context.Context, method string) (*admin.SinkTest, error)
	resume  func(path string, at, end int64)                                                                     // tells a file sink of a place that is taken
	certs   func() []httpapi.Certificate                                                                         // that it depends on; nil: none
	dir     string                                                                                               // that it writes to on this machine
	ask     func(ctx context.Context, pipeline, suffix, query string, header http.Header) (*ingest.Reply, error) // nil: it cannot be asked
	close   func() error
}

// A weather is what all sinks of the process know together about their hosts.
type weather struct {
	gates    *sinks.Gates
	breakers *sinks.Breakers
}

func newWeather(log *slog.Logger) weather {
	return weather{sinks.NewGates(), sinks.NewBreakers(log)}
}

// around puts the stages of a delivery around a client.
func (w weather) around(client ingest.Sink, host string, c *config.Sink, obs ingest.Observer) ingest.Sink {
	s := sinks.Observe(client, obs, c.Name)
	s = sinks.Break(s, w.breakers, host, sinks.Backoff{Initial: c.Retry.Initial, Max: c.Retry.Max})
	return sinks.Limit(sinks.Gate(s, w.gates, host), limiter(c.HTTP.Rate))
}

// newOutlet makes the sink that c describes.
func newOutlet(c *config.Sink, w weather, obs ingest.Observer, out io.Writer, version string) (*outlet, error) {
	o := &outlet{
		SinkOptions: pipeline.SinkOptions{
			Name: c.Name, Concurrency: 1,
			RetryInitial: c.Retry.Initial, RetryMax: c.Retry.Max, GiveUpAfter: c.Retry.GiveUpAfter,
		},
		close: func() error { return nil },
	}
	switch c.Type {
	case "http":
		options := httpOptions(c, version)
		var err error
		if options.AcceptWhen, err = acceptWhen(c.HTTP.AcceptWhen); err != nil {
			return nil, err
		}
		s, err := httpapi.New(options)
		if err != nil {
			return nil, err
		}
		o.Sink = w.around(s, s.Host(), c, obs)
		o.Concurrency, o.connect, o.close = c.HTTP.Concurrency, s.Connect, s.Close
		o.test = func(ctx context.Context, method string) (*admin.SinkTest, error) { return testHTTP(ctx, s, method) }
		o.ask = func(ctx context.Context, pipeline, suffix, query string, header http.Header) (*ingest.Reply, error) {
			return s.Ask(ctx, httpapi.Question{Pipeline: pipeline, Suffix: suffix, Query: query, Header: header})
		}
		o.Hours = hours(c.HTTP.Deliver)
		o.certs = s.Certificates
	case "file":
		s, err := file.New(file.Options{Path: c.File.Path})
		if err != nil {
			return nil, err
		}
		o.Sink = sinks.Observe(s, obs, c.Name)
		o.resume, o.close, o.dir = s.Resume, s.Close, fixedDir(c.File.Path)
		o.connect = func(context.Context) error { return writable(o.dir) }
		o.test = func(context.Context, string) (*admin.SinkTest, error) { return testDir(o.dir), nil }
	case "stdout":
		o.Sink = sinks.Observe(stdout.New(out), obs, c.Name)
		o.test = func(context.Context, string) (*admin.SinkTest, error) {
			return &admin.SinkTest{Outcome: httpapi.Reached, Means: "it writes to standard output; there is nothing to reach"}, nil
		}
	default:
		return nil, fmt.Errorf("sink type %q is not built yet", c.Type)
	}
	return o, nil
}

func httpOptions(c *config.Sink, version string) httpapi.Options {
	h := &c.HTTP
	o := httpapi.Options{
		Name: c.Name, URL: h.URL, Method: h.Method, Headers: make(map[string]string, len(h.Headers)),
		Auth: httpapi.Auth{
			Type: h.Auth.Type, User: h.Auth.User, Password: h.Auth.Password, Token: h.Auth.Token,
			Header: h.Auth.Header, Query: h.Auth.Query, Value: h.Auth.Value,
			Secret: h.Auth.Secret, Algorithm: h.Auth.Algorithm, Encoding: h.Auth.Encoding, Signed: h.Auth.Signed,
			Prefix: h.Auth.Prefix, TimestampHeader: h.Auth.TimeHeader,
			TokenURL: h.Auth.TokenURL, ClientID: h.Auth.ClientID, ClientSecret: h.Auth.ClientSecret,
			Scopes: h.Auth.Scopes, Audience: h.Auth.Audience,
		},
		TLS:     httpapi.TLS{CertFile: h.TLS.CertFile, KeyFile: h.TLS.KeyFile, CAFile: h.TLS.CAFile},
		Timeout: h.Timeout, Compress: h.Compress, MaxConns: h.Concurrency, Version: version,
		Accept: ranges(h.Accept), Duplicate: ranges(h.Duplicate),
		Secrets: c.Brought(),
	}
	if r := h.Results; r != nil {
		o.Results = &httpapi.Results{Path: r.Path, Status: r.Status, Error: r.Error, Index: r.Index}
	}
	for _, v := range h.Headers {
		o.Headers[v.Name] = v.Value.Reveal()
		if secretive(v.Name, v.Value) {
			o.Secrets = append(o.Secrets, v.Value)
		}
	}
	return o
}

// hours are when deliveries are made; nil where that is always.
func hours(d *config.Deliver) pipeline.Hours {
	if d == nil {
		return nil
	}
	return schedule.Hours{
		At: schedule.TimeOfDay(d.At.Minute), HasAt: d.At.Set,
		From: schedule.TimeOfDay(d.Window.From.Minute), To: schedule.TimeOfDay(d.Window.To.Minute), Zone: d.Zone.Location(),
	}
}

// secretive guesses whether a header is a key to something. A short value of a
// harmless name (a tenant, a content type) must not be cut out of answers.
func secretive(name string, value ingest.Secret) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"auth", "token", "key", "secret", "password", "cookie", "signature", "credential", "session"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return len(value.Reveal()) >= 24
}

func ranges(in config.Statuses) []httpapi.StatusRange {
	out := make([]httpapi.StatusRange, len(in))
	for i, r := range in {
		out[i] = httpapi.StatusRange{First: r.Low, Last: r.High}
	}
	return out
}

// limiter is nil where there is no rate. It lets no more than a second's worth
// through at once.
func limiter(r config.Rate) *rate.Limiter {
	per := r.PerSecond()
	if per <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(per), max(1, int(math.Ceil(per/10))))
}

// fixedDir is the directory above the first placeholder of a file's path.
func fixedDir(path string) string {
	if at := strings.IndexByte(path, '{'); at >= 0 {
		path = path[:at] + "x"
	}
	return filepath.Dir(path)
}

// writable makes sure that files can be made in dir, or in the nearest
// directory above it that there is.
func writable(dir string) error {
	for {
		fi, err := os.Stat(dir)
		switch {
		case errors.Is(err, os.ErrNotExist) && filepath.Dir(dir) != dir:
			dir = filepath.Dir(dir)
			continue
		case err != nil:
			return err
		case !fi.IsDir():
			return fmt.Errorf("%s is no directory", dir)
		}
		f, err := os.CreateTemp(dir, ".ingestd-check-*")
		if err != nil {
			return fmt.Errorf("cannot write: %w", err)
		}
		return errors.Join(f.Close(), os.Remove(f.Name()))
	}
}
