package sftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// trustWithin bounds the look at one host key.
const trustWithin = 15 * time.Second

// A HostKey is a key that a server shows.
type HostKey struct {
	Line        string // as host_keys takes it: "ssh-ed25519 AAAA…"
	Type        string
	Fingerprint string // "SHA256:…"
}

// HostKeys asks the server at host or host:port for its host keys, one of each
// type that it has. Whether they are the right ones it cannot know.
func HostKeys(ctx context.Context, host string) ([]HostKey, error) {
	addr := Address(host)
	var (
		found []HostKey
		last  error
	)
	for _, algos := range [][]string{
		{ssh.KeyAlgoED25519},
		{ssh.KeyAlgoECDSA256},
		{ssh.KeyAlgoECDSA384},
		{ssh.KeyAlgoECDSA521},
		{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA},
	} {
		key, err := func() (ssh.PublicKey, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, trustWithin, fmt.Errorf("no answer within %v", trustWithin))
			defer cancel()
			return offered(ctx, addr, algos, true)
		}()
		switch {
		case err == nil:
			found = append(found, HostKey{
				Line: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))),
				Type: key.Type(), Fingerprint: ssh.FingerprintSHA256(key),
			})
		case noCommonHostKey(err):
		default:
			last = err
		}
		if last != nil && len(found) == 0 {
			break // it will not be better for the other types
		}
	}
	if len(found) == 0 {
		if last == nil {
			last = errors.New("it offers no host key of a type that is known here")
		}
		return nil, fmt.Errorf("ask %s for its host keys: %w", addr, last)
	}
	return found, nil
}

// offered is the host key that a server shows where it is asked for one of
// these algorithms. The handshake is broken off then: nobody logs in.
func offered(ctx context.Context, addr string, algos []string, legacy bool) (ssh.PublicKey, error) {
	raw, err := dialTCP(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	var key ssh.PublicKey
	enough := errors.New("seen")
	_, _, _, err = ssh.NewClientConn(raw, addr, &ssh.ClientConfig{
		Config: config(legacy), User: "ingestd", HostKeyAlgorithms: algos,
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			key = k
			return enough
		},
	})
	switch {
	case key != nil:
		return key, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err == nil:
		err = errors.New("it showed none")
	}
	return nil, err
}
