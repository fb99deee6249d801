package daemon

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/admin"
	"ingestd/ingest/expr"
	"ingestd/ingest/ledger"
	"ingestd/ingest/pipeline"
	"ingestd/ingest/source/webhook"
)

// hookGrace is how long requests may take when the listener closes: a sender
// that waits for its target is told where the answer will be.
const hookGrace = 5 * time.Second

// rememberIDs is how long ids of events are remembered where nothing is signed.
const rememberIDs = 24 * time.Hour

// replyKeep is how long answers to senders that wait are kept.
const replyKeep = 24 * time.Hour

// A gate is the listener of all hooks.
type gate struct {
	listen string
	ln     net.Listener
	server *webhook.Server
	tls    *webhook.TLS // nil: none
	stop   context.CancelFunc
	done   chan struct{}
}

// openGate opens the listener that cfg asks for; nil where no pipeline is
// called.
func (d *Daemon) openGate(ctx context.Context, cfg *config.Config) (*gate, error) {
	if !cfg.Hooked() {
		return nil, nil
	}
	w := &cfg.Webhooks
	g := &gate{listen: w.Listen, done: make(chan struct{})}
	o := serverOptions(w)
	o.Logger = d.log
	if w.TLS.CertFile != "" {
		t, err := webhook.LoadTLS(w.TLS.CertFile, w.TLS.KeyFile, w.TLS.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("webhooks.tls: %w", err)
		}
		g.tls, o.TLS = t, t
	}
	g.server = webhook.NewServer(o)
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", w.Listen)
	if err != nil {
		return nil, fmt.Errorf("webhooks.listen: %w", err)
	}
	g.ln = ln
	return g, nil
}

// serve answers until ctx ends or close is called.
func (g *gate) serve(ctx context.Context, wg *sync.WaitGroup, d *Daemon) {
	ctx, g.stop = context.WithCancel(ctx)
	wg.Go(func() {
		defer close(g.done)
		if err := g.server.Serve(ctx, g.ln, hookGrace); err != nil && ctx.Err() == nil {
			d.log.Error("webhooks are not received any more", "error", err)
		}
	})
}

// close lets requests end; nil has none.
func (g *gate) close() {
	if g == nil {
		return
	}
	if g.stop == nil {
		g.ln.Close()
		return
	}
	g.stop()
	<-g.done
}

func (g *gate) addr() string {
	if g == nil {
		return ""
	}
	return g.ln.Addr().String()
}

// route makes hooks of the crew's lines and gives them to the listener.
func (d *Daemon) route(ctx context.Context, g *gate, c *crew) error {
	if g == nil {
		return nil
	}
	base := hookBase(c.cfg, g.addr())
	secret, err := d.ledger.Once(ctx, "results", func() []byte { return ledger.Random(32) })
	if err != nil {
		return err
	}
	routes := webhook.Routes{Results: func(ctx context.Context, token string) (ingest.StoredReply, error) {
		return d.replyFor(ctx, secret, token)
	}}
	for _, l := range c.lines {
		if l.cfg.Source.Type != "webhook" {
			continue
		}
		o, err := hookOptions(l.cfg)
		if err != nil {
			return fmt.Errorf("pipeline %s: %w", l.cfg.Name, err)
		}
		if o.Path, err = d.hookPath(ctx, l.cfg); err != nil {
			return err
		}
		b := l.box
		name := l.cfg.Name
		o.Store, o.Desk, o.Logger, o.Replaces = b, b, d.log, b.hook
		o.Location = func(r ingest.Ref) string { return base + webhook.ResultsPath + resultToken(secret, r) }
		o.Observer = func(status int, what string) { d.metrics.Received(name, status, what) }
		h := webhook.NewHook(o)
		if b.hook == nil {
			if err := b.restore(h, o.ReplayWindow); err != nil {
				return fmt.Errorf("pipeline %s: remember its events: %w", name, err)
			}
		}
		b.hook = h
		routes.Hooks = append(routes.Hooks, h)
	}
	g.server.Route(routes)
	return nil
}

// hookPath is where a pipeline is called: as configured, or an unguessable path
// that was made once.
func (d *Daemon) hookPath(ctx context.Context, p *config.Pipeline) (string, error) {
	if path := p.Source.Webhook.Path; path != "" {
		return path, nil
	}
	word, err := d.ledger.Once(ctx, "hook."+p.Name, func() []byte {
		return base64.RawURLEncoding.AppendEncode(nil, ledger.Random(24))
	})
	return "/hooks/" + string(word), err
}

// hookBase is what stands before every path of a hook.
func hookBase(cfg *config.Config, addr string) string {
	w := &cfg.Webhooks
	if w.PublicURL != "" {
		return strings.TrimSuffix(w.PublicURL, "/")
	}
	u := url.URL{Scheme: "http", Host: cmp.Or(addr, w.Listen)}
	if w.TLS.CertFile != "" {
		u.Scheme = "https"
	}
	return u.String()
}

// Hooks implements admin.Hooks.
func (d *Daemon) Hooks(ctx context.Context) ([]admin.Hook, error) {
	c := d.current()
	d.mu.Lock()
	addr := d.hookAddr
	d.mu.Unlock()
	out := []admin.Hook{}
	for _, l := range c.lines {
		if l.cfg.Source.Type != "webhook" {
			continue
		}
		path, err := d.hookPath(ctx, l.cfg)
		if err != nil {
			return nil, err
		}
		h := &l.cfg.Source.Webhook
		out = append(out, admin.Hook{
			Pipeline: l.cfg.Name, URL: hookBase(c.cfg, addr) + path, Methods: h.Methods, Mode: h.Mode, Scheme: h.Verify.Scheme,
		})
	}
	return out, nil
}

// hookOptions turn what the config says into what the receiver wants, without
// what belongs to the daemon.
func hookOptions(p *config.Pipeline) (o webhook.HookOptions, err error) {
	h := &p.Source.Webhook
	v := &h.Verify
	secrets := v.Secrets
	if !v.Secret.IsZero() {
		secrets = []ingest.Secret{v.Secret}
	}
	o = webhook.HookOptions{
		Pipeline: p.Name, Path: h.Path, Methods: h.Methods, Sync: h.Mode == "sync", Timeout: h.Timeout, MaxBody: h.MaxBody,
		Format: p.Format.Type, EventID: webhook.IDPlace{Header: h.EventID.Header, Path: h.EventID.Path},
		Challenge: h.Challenge, Allow: v.Allow, ClientCert: v.ClientCert, ReplayWindow: cmp.Or(v.ReplayWindow, rememberIDs),
	}
	hookLimits(h, &o)
	o.Verifier, err = webhook.NewVerifier(webhook.VerifyOptions{
		Scheme: v.Scheme, Secrets: secrets, Tolerance: v.Tolerance, User: v.User, Password: v.Password, Token: v.Token,
		Header: v.Header, Algorithm: v.Algorithm, Encoding: v.Encoding, Prefix: v.Prefix, Signed: v.Signed,
		TimestampHeader: v.TimestampHeader, NonceHeader: v.NonceHeader,
	})
	if err != nil {
		return o, fmt.Errorf("verify: %w", err)
	}
	if o.When, err = hookWhen(v.When); err != nil {
		return o, fmt.Errorf("verify: when: %w", err)
	}
	return o, nil
}

// hookWhen compiles the expression that decides whether an event is wanted; nil
// where there is none.
func hookWhen(source string) (func(*ingest.Event, []byte) (bool, error), error) {
	if source == "" {
		return nil, nil
	}
	p, err := expr.Compile(source, expr.Options{
		Names: map[string]any{
			"method": "", "suffix": "", "query": map[string]string{}, "headers": map[string]string{}, "body": nil, "id": "",
		},
		Fold: []string{"headers"}, Bool: true,
	})
	if err != nil {
		return nil, err
	}
	return func(e *ingest.Event, body []byte) (bool, error) {
		value, bad := expr.JSON(body)
		if bad != nil {
			value = string(body) // texts can be looked at too
		}
		query := map[string]string{}
		if asked, err := url.ParseQuery(e.Query); err == nil {
			for name, values := range asked {
				query[name] = strings.Join(values, ", ")
			}
		}
		return p.Bool(map[string]any{
			"method": e.Method, "suffix": e.Suffix, "query": query, "headers": e.Header, "body": value, "id": e.ID,
		})
	}, nil
}

// resultToken is what a sender asks for an event's result with: nobody can
// guess it.
func resultToken(secret []byte, r ingest.Ref) string {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], uint64(r.Arrival))
	binary.BigEndian.PutUint32(b[8:], uint32(r.Event))
	return base64.RawURLEncoding.EncodeToString(append(b[:], sealOf(secret, b[:])...))
}

func sealOf(secret, b []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("result\x00"))
	h.Write(b)
	return h.Sum(nil)[:20]
}

// replyFor implements webhook.Results.
func (d *Daemon) replyFor(ctx context.Context, secret []byte, token string) (out ingest.StoredReply, err error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 32 || !hmac.Equal(b[12:], sealOf(secret, b[:12])) {
		return out, ingest.ErrNotFound
	}
	out.Ref = ingest.Ref{Arrival: int64(binary.BigEndian.Uint64(b)), Event: int(binary.BigEndian.Uint32(b[8:]))}
	if out.Reply, err = d.ledger.Reply(ctx, out.Ref); err != nil || out.Reply != nil {
		return out, err
	}
	a, err := d.ledger.Find(ctx, out.Ref.Arrival)
	switch {
	case errors.Is(err, ingest.ErrNotFound):
		return out, nil // stored, and not taken up yet
	case err != nil:
		return out, err
	case a.State.Ended() && time.Since(a.FinishedAt) > replyKeep:
		return out, ingest.ErrNotFound
	}
	return out, nil
}

// replies are the answers that senders of a line wait for; nil: none do.
func (l *line) replies() *pipeline.Replies {
	if l.box == nil || l.cfg.Source.Webhook.Mode != "sync" {
		return nil
	}
	return &pipeline.Replies{Sink: l.cfg.Source.Webhook.Responder(l.cfg), Settled: l.box.settled, Ended: l.box.ended}
}

// responder is the sink that answers senders of the line.
func (l *line) responder() *outlet { return l.outlets[l.cfg.Source.Webhook.Responder(l.cfg)] }
