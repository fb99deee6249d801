package sftp

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/source/sftp/sshdtest"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Keys in OpenSSH's and PEM's form, with a passphrase, one of several, and out
// of an agent, against a real sshd.
func TestKeys(t *testing.T) {
	sshd := sshdtest.Start(t)
	raw, err := ssh.ParseRawPrivateKey([]byte(sshdtest.NewKey(t, "rsa")))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	sshd.AllowKey(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	// One round of its key derivation is enough here.
	path := filepath.Join(t.TempDir(), "sealed")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", "abra", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	sealed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	sshd.AllowKey(string(public))
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: raw}); err != nil {
		t.Fatal(err)
	}
	socket := serveAgent(t, ring)
	secret := ingest.NewSecret
	locked, foreign := secret(string(sealed)), secret(sshdtest.NewKey(t, "ecdsa"))
	for _, tt := range []struct {
		name string
		auth Auth
		bad  string // of the error of New, or of Sweep
	}{
		{"openssh", Auth{Keys: []ingest.Secret{secret(sshd.Key)}}, ""},
		{"pem", Auth{Keys: []ingest.Secret{secret(pkcs1(t, raw))}}, ""},
		{"passphrase", Auth{Keys: []ingest.Secret{locked}, Passphrase: secret("abra")}, ""},
		{"second of two", Auth{Keys: []ingest.Secret{foreign, secret(sshd.Key)}}, ""},
		{"agent", Auth{Agent: socket}, ""},
		{"foreign key", Auth{Keys: []ingest.Secret{foreign}}, "refused"},
		{"no agent", Auth{Agent: socket + "x"}, "SSH agent"},
		{"wrong passphrase", Auth{Keys: []ingest.Secret{locked}, Passphrase: secret("canary")}, "auth: private key 1: is encrypted, and the passphrase does not open it"},
		{"no passphrase", Auth{Keys: []ingest.Secret{locked}}, "auth: private key 1: is encrypted; give its passphrase"},
		{"no key", Auth{Keys: []ingest.Secret{secret("canary")}}, "auth: private key 1: is no private key in OpenSSH or PEM format"},
		{"nothing", Auth{}, "auth: there is no way to log in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			if strings.HasPrefix(tt.bad, "auth:") {
				_, err = New(Options{Path: "/x", Server: Server{Host: "h", User: "u", Pins: Pins{Keys: sshd.HostKeys}, Auth: tt.auth}})
			} else {
				err = newRigOn(t, sshd, func(o *Options) { o.Server.Auth = tt.auth }).sweep()
			}
			if (err == nil) != (tt.bad == "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%v, want %q", err, tt.bad)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func pkcs1(t *testing.T, raw any) string {
	t.Helper()
	der := x509.MarshalPKCS1PrivateKey(raw.(*rsa.PrivateKey))
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der}))
}

func serveAgent(t *testing.T, ring agent.Agent) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				agent.ServeAgent(ring, c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return socket
}

// A server that knows nothing but SHA-1 is talked to only where the config says
// so.
func TestLegacy(t *testing.T) {
	raw, err := ssh.ParseRawPrivateKey([]byte(sshdtest.NewKey(t, "rsa")))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	old, err := ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	pin := string(ssh.MarshalAuthorizedKey(old.PublicKey()))
	for _, legacy := range []bool{false, true} {
		f := newFake(t, func(c *ssh.ServerConfig) {
			c.NoClientAuth = true
			c.KeyExchanges = []string{ssh.InsecureKeyExchangeDH14SHA1}
			c.Ciphers = []string{ssh.InsecureCipherAES128CBC}
			c.MACs = []string{ssh.HMACSHA1}
		}, old)
		f.put("a.csv", []byte("x"))
		r := f.rig(t, func(o *Options) {
			o.Server.Legacy = legacy
			o.Server.Pins = Pins{Keys: []string{pin}}
		})
		err := r.sweep()
		if (err == nil) != legacy || err != nil && !strings.Contains(err.Error(), "no common algorithm") {
			t.Errorf("legacy=%v: Sweep: %v", legacy, err)
		}
	}
}
