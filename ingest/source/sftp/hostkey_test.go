package sftp

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"ingestd/ingest/source/sftp/sshdtest"

	"golang.org/x/crypto/ssh"
)

// print is the fingerprint of a line of host_keys.
func print(t *testing.T, line string) string {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	return Fingerprint(key)
}

// hostCA certifies a server's ed25519 key, makes the server show the
// certificate, and returns the authority's key and its line for host_keys.
func hostCA(t *testing.T, s *sshdtest.Server) (ca, line string) {
	t.Helper()
	authority, err := ssh.ParsePrivateKey([]byte(s.Key)) // any key will do
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.HostKeys[0]))
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{
		Key: key, CertType: ssh.HostCert, KeyId: "test", ValidPrincipals: []string{"127.0.0.1"}, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	path := s.HostKeyFile("ed25519") + "-cert.pub"
	if err := os.WriteFile(path, ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Restart("HostCertificate " + path)
	ca = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(authority.PublicKey())))
	return ca, "@cert-authority 127.0.0.*,[127.0.0.*]:* " + ca
}
