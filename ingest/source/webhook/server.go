package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ingestd/ingest"
)

// ServerOptions are what the listener is bound by. Zero values are the
// defaults that their comments name.
type ServerOptions struct {
	TLS            *TLS           // nil: plain HTTP
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	MaxHeader      int            // bytes of a request's line and headers: 16 KiB
	HeaderTimeout  time.Duration  // until they are there, and for the TLS handshake: 5 s
	BodyTimeout    time.Duration  // until the body is there: 10 s
	WriteTimeout   time.Duration  // for taking the answer: 30 s
	IdleTimeout    time.Duration  // between two requests of a connection: 60 s
	MaxConns       int            // 1,024
	MaxConnsPer    int            // of one address: 64; trusted proxies are not counted
	MaxBodies      int64          // memory for bodies under way, in bytes: 128 MiB
	Logger         *slog.Logger
}

// ResultsPath is where results are asked for: a token follows it.
const ResultsPath = "/.results/"

// A Results says what became of a sync event, by the token of its Location.
// ingest.ErrNotFound where there is no such token (any more).
type Results func(ctx context.Context, token string) (ingest.StoredReply, error)

// Routes are the hooks that a server has, and who answers for results.
type Routes struct {
	Hooks   []*Hook
	Results Results
}

// A Server receives for all hooks on one listener. It speaks HTTP/1.1 only: a
// connection is one request at a time, so the bounds on connections are bounds
// on requests.
type Server struct {
	o      ServerOptions
	routes atomic.Pointer[table]
	room   room
	going  context.Context // ends when the server drains
	drain  context.CancelFunc
}

type table struct {
	hooks   map[string]*Hook
	results Results
}

// NewServer makes a server without hooks. It starts nothing.
func NewServer(o ServerOptions) *Server {
	def(&o.MaxHeader, 16<<10)
	def(&o.HeaderTimeout, 5*time.Second)
	def(&o.BodyTimeout, 10*time.Second)
	def(&o.WriteTimeout, 30*time.Second)
	def(&o.IdleTimeout, time.Minute)
	def(&o.MaxConns, 1024)
	def(&o.MaxConnsPer, 64)
	def(&o.MaxBodies, 128<<20)
	s := &Server{o: o, room: room{most: o.MaxBodies}}
	s.going, s.drain = context.WithCancel(context.Background())
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
// with at a slash.
func (t *table) find(path string) (h *Hook, suffix string) {
	for at := len(path); at > 0; at = strings.LastIndexByte(path[:at], '/') {
		if h := t.hooks[path[:at]]; h != nil {
			return h, path[at:]
		}
	}
	return nil, ""
}

// Drain answers 503 from now on; what is under way ends, and who waits for a
// target is told where its answer will be.
func (s *Server) Drain() { s.drain() }

// Serve answers on ln until ctx ends; then requests under way have grace to end.
func (s *Server) Serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	d := newDoor(ln, s.o.MaxConns, s.o.MaxConnsPer, s.o.TrustedProxies)
	ln = d
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: s.o.HeaderTimeout, IdleTimeout: s.o.IdleTimeout, WriteTimeout: s.o.BodyTimeout + s.o.WriteTimeout,
		MaxHeaderBytes:               max(1, s.o.MaxHeader-4096), // net/http lets 4 KiB more in
		ErrorLog:                     slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
		BaseContext:                  func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnState:                    d.note,
		DisableGeneralOptionsHandler: true,
		Protocols:                    new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	if s.o.TLS != nil {
		ln = tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.o.TLS.config.Load(), nil }})
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
		d.hush()
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
	h, err := s.serve(w, r)
	if err == nil {
		return
	}
	var no *statusError
	if !errors.As(err, &no) {
		if r.Context().Err() != nil {
			// Nobody listens. To return would be to answer 200, which is a promise.
			panic(http.ErrAbortHandler)
		}
		s.o.Logger.Error("a request could not be answered", "error", err)
		no = answer(http.StatusServiceUnavailable, "try again later").after(10 * time.Second)
	}
	if h != nil {
		h.o.Observer(no.status, WasRefused)
	}
	for name, vs := range no.header {
		w.Header()[name] = vs
	}
	switch no.status {
	case http.StatusUnauthorized, http.StatusUnsupportedMediaType, http.StatusTooManyRequests:
	default:
		w.Header().Set("Connection", "close") // what may be left of the body is not read
	}
	_ = say(w, r, no.status, line{name: "error", values: []string{no.reason}}) // a text can be said
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) (*Hook, error) {
	if s.going.Err() != nil {
		return nil, answer(http.StatusServiceUnavailable, "stopping; try again in a moment").after(5 * time.Second)
	}
	path := r.URL.EscapedPath()
	token, isResult := strings.CutPrefix(path, ResultsPath)
	if len(r.TransferEncoding) > 0 || isResult && r.ContentLength != 0 {
		// A length beside it is dropped by net/http, and may have meant something
		// to a proxy (RFC 9112, 6.1): nothing more is read from this connection.
		w.Header().Set("Connection", "close")
	}
	t := s.routes.Load()
	if isResult && t.results != nil {
		return nil, s.result(w, r, t.results, token)
	}
	h, suffix := t.find(path)
	if h == nil || !descends(suffix) {
		return nil, answer(http.StatusNotFound, "there is no such path")
	}
	v := &visit{w: w, r: r, suffix: suffix, client: s.client(r), stay: stay{room: &s.room}, until: s.going, limits: &s.o}
	defer v.stay.leave()
	return h, h.serve(v)
}

// maxSuffix bounds the path behind a hook's own, in bytes.
const maxSuffix = 2048

// descends reports whether a path only leads further down, however a target
// reads it: nothing of it is empty, a dot or two, or hides a slash.
func descends(suffix string) bool {
	if suffix == "" {
		return true
	}
	if len(suffix) > maxSuffix {
		return false
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(suffix[1:], "/"), "/") {
		text, err := url.PathUnescape(name)
		if err != nil || text == "." || text == ".." || text == "" && suffix != "/" ||
			strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '/' || r == '\\' }) {
			return false
		}
	}
	return true
}

// result answers who asks what became of a sync event.
func (s *Server) result(w http.ResponseWriter, r *http.Request, results Results, token string) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return answer(http.StatusMethodNotAllowed, "results are asked for with GET").with("Allow", "GET, HEAD")
	}
	got, err := results(r.Context(), token)
	switch {
	case errors.Is(err, ingest.ErrNotFound):
		return answer(http.StatusNotFound, "there is no such result, or not any more")
	case err != nil:
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	if got.Reply == nil {
		w.Header().Set("Retry-After", "1")
		return sayStored(w, r, http.StatusAccepted, got.Ref, 1)
	}
	(&visit{w: w, r: r, limits: &s.o}).pass(*got.Reply)
	return nil
}

// maxHops bounds the addresses of an X-Forwarded-For that are looked at.
const maxHops = 32

// client is the sender's address: the connection's, or, where that is a
// trusted proxy's, the nearest that is none in X-Forwarded-For.
func (s *Server) client(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap().WithZone("")
	if len(s.o.TrustedProxies) == 0 || !trusted(s.o.TrustedProxies, addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && len(hops)-i <= maxHops; i-- {
		text := strings.TrimSpace(hops[i])
		hop, err := netip.ParseAddr(text)
		if err != nil { // some proxies add the port
			at, err2 := netip.ParseAddrPort(text)
			if err2 != nil {
				return addr
			}
			hop = at.Addr()
		}
		if addr = hop.Unmap().WithZone(""); !trusted(s.o.TrustedProxies, addr) {
			return addr
		}
	}
	return addr
}

func trusted(networks []netip.Prefix, addr netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
