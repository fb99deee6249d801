package webhook_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ingestd/ingest/source/webhook"
)

// An authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{}
	a.cert, a.key = a.issue(t, name, true)
	return a
}

func (a *authority) issue(t *testing.T, name string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage: x509.KeyUsageDigitalSignature, IsCA: ca, BasicConstraintsValid: true,
	}
	if ca {
		c.KeyUsage |= x509.KeyUsageCertSign
	}
	parent, by := c, key
	if a.cert != nil {
		parent, by = a.cert, a.key
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)))), key
}

func (a *authority) pair(t *testing.T, name string) (cert, key []byte) {
	c, k := a.issue(t, name, false)
	return pemOf("CERTIFICATE", c.Raw), pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(k)))
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// TestMutualTLS: certificates are read again while the listener runs; a hook
// that wants one of the client lets nobody in without.
func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	servers, clients, others := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "others")
	renew := func(by *authority, name string) {
		cert, key := by.pair(t, name)
		write("cert.pem", cert)
		write("key.pem", key)
	}
	renew(servers, "first")
	certs, err := webhook.LoadTLS(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), write("ca.pem", pemOf("CERTIFICATE", clients.cert.Raw)))
	if err != nil {
		t.Fatal(err)
	}
	h := githubHook()
	h.ClientCert = true
	s := open(t, h, webhook.ServerOptions{TLS: certs, IdleTimeout: time.Second, HeaderTimeout: time.Second})

	pool := x509.NewCertPool()
	pool.AddCert(servers.cert)
	send := func(by *authority, protocols ...string) (status int, server, protocol string, err error) {
		c := &tls.Config{RootCAs: pool, NextProtos: protocols}
		if by != nil {
			cert, key := by.pair(t, "a sender")
			pair := must(tls.X509KeyPair(cert, key))
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		client := http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true, ForceAttemptHTTP2: true}, Timeout: 10 * time.Second}
		a := signed("{}", "")
		r, _ := http.NewRequest("POST", s.url+"/hooks/orders", strings.NewReader(a.body))
		r.Header = a.header
		r.Header.Set("Content-Type", "application/json")
		res, err := client.Do(r)
		if err != nil {
			return 0, "", "", err
		}
		defer res.Body.Close()
		io.Copy(io.Discard, res.Body)
		return res.StatusCode, res.TLS.PeerCertificates[0].Subject.CommonName, res.Proto, nil
	}
	if status, server, protocol, err := send(clients); status != 202 || server != "first" || protocol != "HTTP/1.1" || err != nil {
		t.Errorf("%d, %s, %s, %v", status, server, protocol, err)
	}
	if status, _, _, err := send(nil); status != 403 || err != nil {
		t.Errorf("without a certificate: %d, %v", status, err)
	}
	if status, _, _, err := send(others); err == nil {
		t.Errorf("of another authority: %d", status)
	}
	renew(servers, "second")
	write("ca.pem", pemOf("CERTIFICATE", others.cert.Raw))
	if err := certs.Reload(); err != nil {
		t.Fatal(err)
	}
	if status, server, _, err := send(others); status != 200 || server != "second" || err != nil {
		t.Errorf("renewed: %d, %s, %v", status, server, err)
	}
	if _, _, _, err := send(clients); err == nil {
		t.Error("the old authority is still believed")
	}
	// What cannot be used leaves all as it was.
	for name, b := range map[string][]byte{"cert.pem": []byte("x"), "ca.pem": []byte("x")} {
		was := must(os.ReadFile(filepath.Join(dir, name)))
		write(name, b)
		if err := certs.Reload(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		write(name, was)
	}
	if status, server, _, err := send(others); status != 200 || server != "second" || err != nil {
		t.Errorf("after files that cannot be read: %d, %s, %v", status, server, err)
	}
	if _, err := webhook.LoadTLS(filepath.Join(dir, "none.pem"), filepath.Join(dir, "key.pem"), ""); err == nil || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("no file: %v", err)
	}
	// Plain HTTP, and a handshake that does not go on.
	if got := raw(t, s.addr(), "POST /hooks/orders HTTP/1.1\r\n\r\n"); strings.Contains(got, "202") {
		t.Errorf("%q", got)
	}
	raw(t, s.addr(), "\x16\x03\x01")
}
