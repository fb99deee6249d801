package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// issue makes a certificate for name and 127.0.0.1; by nil it is an authority's
// own.
func issue(t *testing.T, name string, by *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, any(key)
	if by == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// files writes a certificate and its key where the config names them.
func (s *shop) files(c tls.Certificate, cert, key string) {
	s.t.Helper()
	s.write(cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})))
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// TestMutualTLSIsReloaded: the target knows us by our certificate, and by the
// new one once it was renewed in place and the daemon told to reload.
func TestMutualTLSIsReloaded(t *testing.T) {
	t.Parallel()
	ca := issue(t, "authority", nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	var (
		mu    sync.Mutex
		names []string
	)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		names = append(names, r.Method+" "+r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	srv.TLS = &tls.Config{
		Certificates: []tls.Certificate{issue(t, "target", &ca)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
	srv.StartTLS()
	defer srv.Close()
	s := newShop(t, strings.ReplaceAll(`
state_dir: state
sinks:
  api: {type: http, url: "PARTNER/orders", tls: {cert_file: cert.pem, key_file: key.pem, ca_file: ca.pem}}
pipelines:
  orders: {source: {type: dir, path: drop, settle: 0s, rescan: 1s}, record: {key: [id]}, sinks: [api]}
`, "PARTNER", srv.URL))
	s.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]})))
	s.files(issue(t, "old", &ca), "cert.pem", "key.pem")
	d := s.start("run")
	d.logs("running")
	if out := s.ask(0, "sink", "test", "api"); !strings.Contains(out, "CN=target, issued by CN=authority") {
		t.Error(out)
	}
	s.drop("drop", "a.csv", "id\n1\n")
	s.arrival("a.csv", "done")
	s.files(issue(t, "new", &ca), "cert.pem", "key.pem")
	s.ask(0, "reload")
	s.drop("drop", "b.csv", "id\n2\n")
	s.arrival("b.csv", "done")
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"HEAD old", "POST old", "POST new"}; !slices.Equal(names, want) {
		t.Errorf("seen as %q, want %q", names, want)
	}
}
