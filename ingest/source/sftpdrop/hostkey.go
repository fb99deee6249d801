package sftpdrop

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// The files of host keys that are made here, in the state directory.
const (
	ed25519File = "sftp_host_ed25519_key"
	rsaFile     = "sftp_host_rsa_key"
	rsaBitsMade = 3072
	maxKeyFile  = 64 << 10
)

// HostKeys reads the server's host keys: the one in file, or, where file is "",
// an ed25519 and an RSA key in dir, which are made where they are absent.
func HostKeys(dir, file string) ([]ssh.Signer, error) {
	if file != "" {
		k, err := readHostKey(file)
		if err != nil {
			return nil, err
		}
		return []ssh.Signer{k}, nil
	}
	var keys []ssh.Signer
	for _, made := range []struct {
		name string
		make func() (crypto.PrivateKey, error)
	}{
		{ed25519File, func() (crypto.PrivateKey, error) {
			_, k, err := ed25519.GenerateKey(rand.Reader)
			return k, err
		}},
		{rsaFile, func() (crypto.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, rsaBitsMade) }},
	} {
		path := filepath.Join(dir, made.name)
		k, err := readHostKey(path)
		if errors.Is(err, fs.ErrNotExist) {
			if err = makeHostKey(path, made.make); err == nil {
				k, err = readHostKey(path)
			}
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// KnownHostKeys is HostKeys that makes none: what is there.
func KnownHostKeys(dir, file string) ([]ssh.Signer, error) {
	files := []string{filepath.Join(dir, ed25519File), filepath.Join(dir, rsaFile)}
	if file != "" {
		files = []string{file}
	}
	var keys []ssh.Signer
	for _, f := range files {
		k, err := readHostKey(f)
		switch {
		case file == "" && errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return keys, err
		default:
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// Fingerprint is a host key as clients show it, after its type.
func Fingerprint(k ssh.Signer) string {
	name := strings.TrimPrefix(k.PublicKey().Type(), "ssh-")
	return strings.ToUpper(name) + " " + ssh.FingerprintSHA256(k.PublicKey())
}

// PublicLine is a host key as a line of known_hosts, without the host.
func PublicLine(k ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.PublicKey())))
}

func readHostKey(path string) (ssh.Signer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read a host key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read a host key: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("read the host key %s: it is no regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("read the host key %s: others may read it (mode %04o); it may be known to them: chmod 600 it, or better make a new one",
			path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read a host key: %w", err)
	}
	k, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("read the host key %s: it has a passphrase; a server's key has none", path)
	case err != nil:
		return nil, fmt.Errorf("read the host key %s: it is no private key: %w", path, err)
	case k.PublicKey().Type() == ssh.KeyAlgoRSA:
		if bits := rsaBits(k.PublicKey()); bits < minRSABits {
			return nil, fmt.Errorf("read the host key %s: RSA with %d bits; at least %d are asked for", path, bits, minRSABits)
		}
	}
	return k, nil
}

// makeHostKey makes a key file that is whole or not there, and leaves one that
// somebody else made meanwhile.
func makeHostKey(path string, make func() (crypto.PrivateKey, error)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make the host key %s: %w", path, err)
		}
	}()
	key, err := make()
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(key, "ingestd")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(block))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func rsaBits(k ssh.PublicKey) int {
	if c, ok := k.(ssh.CryptoPublicKey); ok {
		if p, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok {
			return p.N.BitLen()
		}
	}
	return 0
}
