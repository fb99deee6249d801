package httpapi

import (
	"crypto/x509"
	"net/http"
	"time"
)

// A Certificate is one that a connection to the target depends on.
type Certificate struct {
	Own  bool // ours, which the target asks for; otherwise the target's
	Name string
	Ends time.Time
}

// Certificates lists our own and the one that the target has shown last, as far
// as there are any.
func (s *Sink) Certificates() []Certificate {
	var out []Certificate
	if c := s.shown.Load(); c != nil {
		out = append(out, Certificate{Name: s.url.hostPort, Ends: c.NotAfter})
	}
	for _, pair := range s.transport.Load().TLSClientConfig.Certificates {
		if c, err := x509.ParseCertificate(pair.Certificate[0]); err == nil {
			out = append(out, Certificate{Own: true, Name: s.tls.CertFile, Ends: c.NotAfter})
		}
	}
	return out
}

// see notes the certificate that the target has shown: the same pointer for as
// long as the connection lives.
func (s *Sink) see(resp *http.Response) {
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		if c := resp.TLS.PeerCertificates[0]; s.shown.Load() != c {
			s.shown.Store(c)
		}
	}
}
