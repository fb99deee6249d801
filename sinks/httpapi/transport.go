package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Limits of one connection, from the table of limits.
const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	complaintWait    = 500 * time.Millisecond // for what a server says right after the handshake
	maxHeader        = 64 << 10

	// A batch of usual size goes out in one write, without a buffer of its own.
	writeBuffer = 128 << 10
)

// TLS names the files of a target's TLS. They are read by New and Reload.
type TLS struct {
	CertFile string // our certificate, for targets that ask for one; with KeyFile
	KeyFile  string
	CAFile   string // the authorities that are trusted, instead of the system's
}

func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("cert_file and key_file go together")
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file, key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM form", t.CAFile)
		}
	}
	return c, nil
}

// newTransport is a transport of this sink's own: as many connections as the
// sink has senders, all kept alive.
func (s *Sink) newTransport() (*http.Transport, error) {
	if s.tls != (TLS{}) && s.url.scheme != "https" {
		return nil, errors.New("is set, but the url is not https")
	}
	conf, err := s.tls.config()
	if err != nil {
		return nil, err
	}
	if conf.Certificates == nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			s.asked.Store(true)
			return new(tls.Certificate), nil
		}
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxResponseHeaderBytes: maxHeader,
		MaxConnsPerHost:        s.maxConns,
		MaxIdleConnsPerHost:    s.maxConns,
		IdleConnTimeout:        90 * time.Second,
		WriteBufferSize:        writeBuffer,
		// Answers are read as they come: nothing unpacks into our memory unasked.
		DisableCompression: true,
		ForceAttemptHTTP2:  true,
		// A dead HTTP/2 connection would otherwise eat whole timeouts.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}, nil
}

// Connect reaches the target, or the proxy before it, and shakes hands, without
// a request: the harmless half of a check. Where the sink logs in with a token,
// it has one afterwards.
func (s *Sink) Connect(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, dialTimeout+handshakeTimeout)
	defer cancel()
	if err := s.connect(bounded); err != nil {
		return s.scrub(fmt.Errorf("connect to %s: %w", s.url.base, s.explain(err)))
	}
	_, err := s.credentials(ctx)
	return err
}

func (s *Sink) connect(ctx context.Context) error {
	t := s.transport.Load()
	proxy, err := t.Proxy(&http.Request{URL: &url.URL{Scheme: s.url.scheme, Host: s.url.host}})
	if err != nil {
		return err
	}
	addr := s.url.hostPort
	if proxy != nil {
		if addr = proxy.Host; proxy.Port() == "" {
			port := "80"
			if proxy.Scheme == "https" {
				port = "443"
			}
			addr = net.JoinHostPort(proxy.Hostname(), port)
		}
	}
	conn, err := t.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if proxy != nil || s.url.scheme != "https" {
		return nil
	}
	conf := t.TLSClientConfig.Clone()
	if conf.ServerName, _, err = net.SplitHostPort(addr); err != nil {
		return err
	}
	secured := tls.Client(conn, conf)
	if err := secured.HandshakeContext(ctx); err != nil || !s.asked.Load() {
		return err
	}
	// In TLS 1.3 a server says only after the handshake that it wants the
	// certificate that we do not have. One that does not mind waits for a request.
	if err := conn.SetReadDeadline(time.Now().Add(complaintWait)); err != nil {
		return err
	}
	if _, err := secured.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// explain adds what to do where net/http's words leave people alone.
func (s *Sink) explain(err error) error {
	var (
		unknown x509.UnknownAuthorityError
		record  tls.RecordHeaderError
	)
	switch {
	case s.asked.Load() && !s.accepted.Load():
		// The alert that says so is often lost behind a broken pipe.
		return fmt.Errorf("%w (the target asked for a client certificate; tls: {cert_file: …, key_file: …} names one)", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w (a private authority is trusted by tls: {ca_file: …})", err)
	case errors.As(err, &record):
		return fmt.Errorf("%w (does the target speak plain http?)", err)
	}
	return err
}
