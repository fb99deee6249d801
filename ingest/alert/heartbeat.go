package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"ingestd/ingest"
)

// beatWithin bounds one beat.
const beatWithin = 10 * time.Second

// A Heart makes a request every so often, as long as all is well: when it stops,
// a dead man's switch somewhere else tells people what ingestd itself no longer
// can. A beat that fails is logged, once until one works again.
type Heart struct {
	o       HeartOptions
	client  *http.Client
	changed chan struct{}

	mu    sync.Mutex
	url   ingest.Secret
	every time.Duration
	last  string // what kept the last beat from being made
}

// HeartOptions are what a Heart works with.
type HeartOptions struct {
	// Well says why the process cannot do its work, or nil.
	Well      func(ctx context.Context) error
	UserAgent string
	Log       *slog.Logger
}

// NewHeart makes a heart that does not beat yet.
func NewHeart(o HeartOptions) *Heart {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: beatWithin / 2, MaxIdleConns: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10}
	return &Heart{
		o: o, changed: make(chan struct{}, 1),
		client: &http.Client{Transport: t, Timeout: beatWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// CheckURL says what is wrong with a heartbeat's URL, without showing it.
func CheckURL(text ingest.Secret) error {
	u, err := url.Parse(text.Reveal())
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("is no absolute URL; write one like https://hc-ping.com/UUID")
	}
	return nil
}

// Configure says where to and how often from now on; an empty URL: nowhere.
func (h *Heart) Configure(url ingest.Secret, every time.Duration) {
	h.mu.Lock()
	h.url, h.every = url, every
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// Run beats until ctx ends, at once and then every so often.
func (h *Heart) Run(ctx context.Context) {
	defer h.client.CloseIdleConnections()
	for {
		h.mu.Lock()
		url, every := h.url, h.every
		h.mu.Unlock()
		var next <-chan time.Time
		if !url.IsZero() && every > 0 {
			next = time.After(every)
			h.report(ctx, h.beat(ctx, url))
		}
		select {
		case <-ctx.Done():
			return
		case <-h.changed:
		case <-next:
		}
	}
}

func (h *Heart) beat(ctx context.Context, to ingest.Secret) error {
	ctx, cancel := context.WithTimeout(ctx, beatWithin)
	defer cancel()
	if err := h.o.Well(ctx); err != nil {
		return fmt.Errorf("not all is well, so it is withheld: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.Reveal(), nil)
	if err != nil {
		return errors.New("its URL cannot be read")
	}
	req.Header.Set("User-Agent", h.o.UserAgent)
	res, err := h.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // url.Error shows the URL, which is a key in itself
		}
		return fmt.Errorf("ask %s: %w", req.URL.Host, err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", req.URL.Host, res.Status)
	}
	return nil
}

// report logs what changed.
func (h *Heart) report(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	h.mu.Lock()
	was := h.last
	h.last = text
	h.mu.Unlock()
	switch {
	case text == "" && was != "":
		h.o.Log.Info("the heartbeat is heard again")
	case text != "" && was == "":
		h.o.Log.Warn("no heartbeat", "error", err)
	}
}
