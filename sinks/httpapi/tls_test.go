package httpapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/sinks/httpapi"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

// issue returns a certificate for host, valid until end.
func (a authority) issue(t *testing.T, host string, end time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host},
		NotBefore: end.Add(-time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writePair(t *testing.T, dir string, c tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", c.Certificate[0])
	writePEM(t, keyFile, "PRIVATE KEY", key)
	return certFile, keyFile
}

func serveTLS(t *testing.T, conf *tls.Config, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = conf
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	caFile := filepath.Join(dir, "ca.pem")
	writePEM(t, caFile, "CERTIFICATE", ca.cert.Raw)
	later := time.Now().Add(time.Hour)
	ok := func(w http.ResponseWriter, r *http.Request) {}
	serverOf := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	for name, c := range map[string]struct {
		conf *tls.Config
		want string // part of the error; "" = delivered
	}{
		"good":            {serverOf(ca.issue(t, "127.0.0.1", later)), ""},
		"expired":         {serverOf(ca.issue(t, "127.0.0.1", time.Now().Add(-time.Minute))), "expired"},
		"wrong name":      {serverOf(ca.issue(t, "elsewhere.example", later)), "certificate"},
		"other authority": {serverOf(other.issue(t, "127.0.0.1", later)), "unknown authority"},
		"TLS 1.1": {&tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", later)},
			MinVersion:   tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
		}, "protocol version"},
		"wants a certificate": {&tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", later)},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
		}, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			u := serveTLS(t, c.conf, ok)
			s := newSink(t, httpapi.Options{URL: u, TLS: httpapi.TLS{CAFile: caFile}})
			_, err := s.Send(t.Context(), request())
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Connect(t.Context()); err != nil {
					t.Errorf("connect: %v", err)
				}
				return
			}
			if kind(err) != "retry" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want one to retry, with %q", err, c.want)
			}
			if err := s.Connect(t.Context()); err == nil {
				t.Error("connected all the same")
			}
		})
	}
	t.Run("plain http behind https", func(t *testing.T) {
		srv := serve(t, ok)
		s := newSink(t, httpapi.Options{URL: strings.Replace(srv.URL, "http:", "https:", 1)})
		if _, err := s.Send(t.Context(), request()); kind(err) != "retry" || !strings.Contains(err.Error(), "plain http") {
			t.Errorf("%v", err)
		}
	})
	t.Run("handshake never ends", func(t *testing.T) {
		u := raw(t, func(_ int, c net.Conn) { io.Copy(io.Discard, c) })
		s := newSink(t, httpapi.Options{URL: strings.Replace(u, "http:", "https:", 1), Timeout: 50 * time.Millisecond})
		if _, err := s.Send(t.Context(), request()); kind(err) != "retry" {
			t.Errorf("%v", err)
		}
	})
}

func TestClientCertificateAndReload(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	caFile := filepath.Join(dir, "ca.pem")
	writePEM(t, caFile, "CERTIFICATE", ca.cert.Raw)
	later := time.Now().Add(time.Hour)
	var name string
	u := serveTLS(t, &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", later)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
	}, func(w http.ResponseWriter, r *http.Request) { name = r.TLS.PeerCertificates[0].Subject.CommonName })

	certFile, keyFile := writePair(t, dir, other.issue(t, "stranger", later))
	s := newSink(t, httpapi.Options{URL: u, TLS: httpapi.TLS{CertFile: certFile, KeyFile: keyFile, CAFile: caFile}})
	if _, err := s.Send(t.Context(), request()); kind(err) != "retry" {
		t.Fatalf("a stranger's certificate: %v", err)
	}
	writePair(t, dir, ca.issue(t, "ingestd", later))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(t.Context(), request()); err != nil || name != "ingestd" {
		t.Fatalf("after Reload: %v, seen as %q", err, name)
	}
	ends := later.UTC().Truncate(time.Second)
	if got, want := s.Certificates(), []httpapi.Certificate{
		{Name: strings.TrimPrefix(u, "https://"), Ends: ends}, {Own: true, Name: certFile, Ends: ends},
	}; !slices.EqualFunc(got, want, func(a, b httpapi.Certificate) bool {
		return a.Own == b.Own && strings.HasPrefix(b.Name, a.Name) && a.Ends.Equal(b.Ends)
	}) {
		t.Errorf("certificates: %+v, want %+v", got, want)
	}
	// A broken file is refused, and the old certificate stays in force.
	if err := os.WriteFile(certFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Error("a broken certificate was taken")
	}
	if _, err := s.Send(t.Context(), request()); err != nil {
		t.Errorf("after a refused Reload: %v", err)
	}
}

func TestHTTP2(t *testing.T) {
	ca := newAuthority(t)
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, caFile, "CERTIFICATE", ca.cert.Raw)
	var proto, body string
	u := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", time.Now().Add(time.Hour))}},
		func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			proto, body = r.Proto, string(b)
			if r.Header.Get("X-Ingestd-Records") == "3" {
				panic(http.ErrAbortHandler) // RST_STREAM
			}
		})
	s := newSink(t, httpapi.Options{URL: u, TLS: httpapi.TLS{CAFile: caFile}})
	for range 3 {
		if _, err := s.Send(t.Context(), request()); err != nil {
			t.Fatal(err)
		}
	}
	if proto != "HTTP/2.0" || body != string(request().Body) {
		t.Errorf("%s, body %q", proto, body)
	}
	r := request()
	r.Records = 3
	if _, err := s.Send(t.Context(), r); kind(err) != "retry" {
		t.Errorf("a reset stream: %v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("the redirect was followed") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/new?x=1", status)
		})
		_, err := newSink(t, httpapi.Options{URL: srv.URL}).Send(t.Context(), request())
		if kind(err) != "halt" || !strings.Contains(err.Error(), elsewhere.URL+"/new?x=1") {
			t.Errorf("%d: %v", status, err)
		}
	}
	// Relative, endless, and hostile addresses.
	for location, want := range map[string]string{
		"/new":                          "/new",
		"http://169.254.169.254/latest": "http://169.254.169.254/latest",
		"//x.example/" + strings.Repeat("a", 9999): "x.example/aaa",
		"%zz": "redirects are never followed",
		"":    "redirects are never followed",
	} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Location"] = []string{location}
			w.WriteHeader(302)
		})
		_, err := newSink(t, httpapi.Options{URL: srv.URL}).Send(t.Context(), request())
		if kind(err) != "halt" || !strings.Contains(err.Error(), want) || len(err.Error()) > 1000 {
			t.Errorf("%.40q: %v", location, err)
		}
		if ingest.AnswerOf(err).Status != 302 {
			t.Error("the status is lost")
		}
	}
}
