package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"
)

// A TLS is the certificates of the listener, from files that may be replaced
// while it runs.
type TLS struct {
	cert, key, clientCA string
	config              atomic.Pointer[tls.Config]
}

// LoadTLS reads a certificate with its chain, its key and, unless "", who may
// sign client certificates; all PEM.
func LoadTLS(certFile, keyFile, clientCAFile string) (*TLS, error) {
	t := &TLS{cert: certFile, key: keyFile, clientCA: clientCAFile}
	return t, t.Reload()
}

// Reload reads the files again. Where they cannot be used the old ones stay,
// and an error says why. Connections that are open go on.
func (t *TLS) Reload() error {
	pair, err := tls.LoadX509KeyPair(t.cert, t.key)
	if err != nil {
		return fmt.Errorf("read the certificate %s and the key %s: %w", t.cert, t.key, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	if t.clientCA != "" {
		pem, err := os.ReadFile(t.clientCA)
		if err != nil {
			return fmt.Errorf("read who may sign client certificates: %w", err)
		}
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read who may sign client certificates: %s holds no certificate", t.clientCA)
		}
		// Which hooks ask for one is theirs to say; a wrong one is refused by all.
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	t.config.Store(c)
	return nil
}
