package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
)

// ServerOptions are what the listener is bound by. Zero values are the
// defaults that their comments name.
type ServerOptions struct {
	TLS            func() (*tls.Config, error) // nil: plain HTTP. Asked for each connection, so that certificates can change
	TrustedProxies []netip.Prefix              // whose X-Forwarded-For is believed
	MaxHeader      int                         // bytes: 16 KiB
	HeaderTimeout  time.Duration               // 5 s
	BodyTimeout    time.Duration               // 10 s
	IdleTimeout    time.Duration               // 60 s
	MaxConns       int                         // 1,024
	MaxConnsPer    int                         // of one address: 64; trusted proxies are not counted
	Logger         *slog.Logger
}

// ResultsPath is where results are asked for; what follows is the server's.
const ResultsPath = "/.results/"

// A Results answers who asks what became of a sync event.
type Results func(ctx context.Context, token string) (res Result, arrival string, found bool, done bool, err error)

// Routes are the hooks that a server has, and who answers for results.
type Routes struct {
	Hooks   []*Hook
	Results Results
}

// A Server receives for all hooks on one listener.
type Server struct {
	o        ServerOptions
	routes   atomic.Pointer[table]
	draining atomic.Bool
}

type table struct {
	hooks   map[string]*Hook
	results Results
}

// NewServer makes a server without hooks. It starts nothing.
func NewServer(o ServerOptions) *Server {
	def := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	def(&o.HeaderTimeout, 5*time.Second)
	def(&o.BodyTimeout, 10*time.Second)
	def(&o.IdleTimeout, time.Minute)
	if o.MaxHeader <= 0 {
		o.MaxHeader = 16 << 10
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 1024
	}
	if o.MaxConnsPer <= 0 {
		o.MaxConnsPer = 64
	}
	s := &Server{o: o}
	s.Route(Routes{})
	return s
}

// Route gives the server other hooks; requests under way end with the old ones.
func (s *Server) Route(r Routes) {
	t := &table{hooks: map[string]*Hook{}, results: r.Results}
	for _, h := range r.Hooks {
		t.hooks[h.o.Path] = h
	}
	s.routes.Store(t)
}

// find is the hook of a path: the longest of those whose path it is, or begins
// with.
func (t *table) find(path string) (h *Hook, suffix string) {
	for at := len(path); at > 0; at = strings.LastIndexByte(path[:at], '/') {
		if h := t.hooks[path[:at]]; h != nil {
			return h, path[at:]
		}
	}
	return nil, ""
}

// Drain answers 503 from now on; what is under way ends.
func (s *Server) Drain() { s.draining.Store(true) }

// Serve answers on ln until ctx ends; then requests under way have grace to end.
func (s *Server) Serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	ln = newDoor(netutil.LimitListener(ln, s.o.MaxConns), s.o.MaxConnsPer, s.o.TrustedProxies)
	srv := &http.Server{
		Handler: s, MaxHeaderBytes: s.o.MaxHeader, ReadHeaderTimeout: s.o.HeaderTimeout, IdleTimeout: s.o.IdleTimeout,
		ErrorLog:    slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	if s.o.TLS != nil {
		ln = tls.NewListener(ln, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.o.TLS() }})
	}
	var shut sync.WaitGroup
	ended := make(chan struct{})
	shut.Go(func() {
		select {
		case <-ctx.Done():
		case <-ended:
			return
		}
		s.Drain()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if srv.Shutdown(late) != nil {
			srv.Close()
		}
	})
	err := srv.Serve(ln)
	close(ended)
	shut.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := s.serve(w, r)
	if err == nil {
		return
	}
	var no *statusError
	if !errors.As(err, &no) {
		if r.Context().Err() != nil {
			return // nobody listens
		}
		s.o.Logger.Error("a request could not be answered", "error", err)
		no = answer(http.StatusServiceUnavailable, "try again later")
		no.header = http.Header{"Retry-After": {"10"}}
	}
	for name, vs := range no.header {
		w.Header()[name] = vs
	}
	if no.status == http.StatusRequestEntityTooLarge || no.status == http.StatusBadRequest {
		w.Header().Set("Connection", "close") // what is left of the body is not read
	}
	_ = say(w, r, no.status, map[string]any{"error": no.reason}) // it is a map of strings
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) error {
	if s.draining.Load() {
		e := answer(http.StatusServiceUnavailable, "stopping; try again in a moment")
		e.header = http.Header{"Retry-After": {"5"}, "Connection": {"close"}}
		return e
	}
	t := s.routes.Load()
	if token, ok := strings.CutPrefix(r.URL.Path, ResultsPath); ok && t.results != nil {
		return s.result(w, r, t.results, token)
	}
	h, suffix := t.find(r.URL.EscapedPath())
	if h == nil {
		return answer(http.StatusNotFound, "there is no such path")
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.o.BodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	err := h.serve(w, r, suffix, s.client(r))
	var no *statusError
	if errors.As(err, &no) {
		h.o.Observer(no.status, no.reason)
	}
	return err
}

// result answers who asks what became of a sync event.
func (s *Server) result(w http.ResponseWriter, r *http.Request, results Results, token string) error {
	if r.Method != http.MethodGet {
		e := answer(http.StatusMethodNotAllowed, "results are asked for with GET")
		e.header = http.Header{"Allow": {"GET"}}
		return e
	}
	res, arrival, found, done, err := results(r.Context(), token)
	switch {
	case err != nil:
		return err
	case !found:
		return answer(http.StatusNotFound, "there is no such result, or not any more")
	case !done:
		w.Header().Set("Retry-After", "1")
		return say(w, r, http.StatusAccepted, map[string]any{"arrival": arrival})
	}
	pass(w, res)
	return nil
}

// client is the sender's address: the connection's, or, where that is a
// trusted proxy's, the nearest that is none in X-Forwarded-For.
func (s *Server) client(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap()
	if !trusted(s.o.TrustedProxies, addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && len(hops)-i <= 32; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr
		}
		if addr = hop.Unmap(); !trusted(s.o.TrustedProxies, addr) {
			return addr
		}
	}
	return addr
}

func trusted(proxies []netip.Prefix, addr netip.Addr) bool {
	for _, p := range proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
