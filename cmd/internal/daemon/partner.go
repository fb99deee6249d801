package daemon

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A Partner is somebody with a key who uploads to the drop server, for those who
// have no client of their own.
type Partner struct {
	Name string
	key  ed25519.PrivateKey
}

// NewPartner makes a partner with a new key.
func NewPartner(name string) (*Partner, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &Partner{Name: name, key: key}, nil
}

// Authorized is the line of authorized_keys that lets the partner in.
func (p *Partner) Authorized() (string, error) {
	k, err := ssh.NewPublicKey(p.key.Public())
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))), nil
}

// PrivateKey is the partner's private key, as OpenSSH's clients read it.
func (p *Partner) PrivateKey() ([]byte, error) {
	block, err := ssh.MarshalPrivateKey(p.key, p.Name)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

// Upload puts content on the server at addr, which must show one of these host
// keys. It returns once the server said that the file is whole.
func (p *Partner) Upload(ctx context.Context, addr string, hostKeys []string, name string, content []byte) error {
	return p.talk(ctx, addr, hostKeys, func(c *sftp.Client) error {
		f, err := c.Create(name)
		if err != nil {
			return err
		}
		_, err = f.ReadFrom(bytes.NewReader(content))
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		return err
	})
}

// Download reads a file of at most a MiB.
func (p *Partner) Download(ctx context.Context, addr string, hostKeys []string, name string) (content []byte, err error) {
	err = p.talk(ctx, addr, hostKeys, func(c *sftp.Client) error {
		f, err := c.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		content, err = io.ReadAll(io.LimitReader(f, 1<<20))
		return err
	})
	return content, err
}

func (p *Partner) talk(ctx context.Context, addr string, hostKeys []string, do func(*sftp.Client) error) error {
	signer, err := ssh.NewSignerFromKey(p.key)
	if err != nil {
		return err
	}
	tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer tcp.Close()
	defer context.AfterFunc(ctx, func() { tcp.SetDeadline(time.Unix(1, 0)) })()
	conn, chans, reqs, err := ssh.NewClientConn(tcp, addr, &ssh.ClientConfig{
		User: p.Name, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			shown := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
			for _, k := range hostKeys {
				if strings.HasPrefix(k+" ", shown+" ") {
					return nil
				}
			}
			return fmt.Errorf("%s shows a key that is not the drop server's", addr)
		},
	})
	if err != nil {
		return err
	}
	cl := ssh.NewClient(conn, chans, reqs)
	defer cl.Close()
	c, err := sftp.NewClient(cl)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}
