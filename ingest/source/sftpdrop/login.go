package sftpdrop

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/ssh"
)

// What a login leaves in the connection's permissions: the library keeps those
// of the very key that was proven, whatever other keys were offered.
const (
	extUser       = "user"
	extCredential = "credential"
	extPrint      = "fingerprint"
)

var errLogin = errors.New("no such user, key or password")

// loginConfig is how one connection may log in, until ctx ends.
func (k *conn) loginConfig(ctx context.Context) *ssh.ServerConfig {
	c := *k.conf.ssh
	c.AuthLogCallback = func(m ssh.ConnMetadata, _ string, _ error) { k.tried = m.User() }
	c.PublicKeyCallback = func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		u := k.conf.users[m.User()]
		if u == nil || !u.holds(key) {
			return nil, errLogin // clients offer what they have; it is no attack
		}
		return &ssh.Permissions{Extensions: map[string]string{
			extUser: u.Name, extCredential: string(key.Marshal()), extPrint: ssh.FingerprintSHA256(key),
		}}, nil
	}
	if k.conf.anyPassword() {
		c.PasswordCallback = func(m ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			return k.password(ctx, m.User(), password)
		}
	}
	return &c
}

// decoy is compared with where there is no hash, so that an answer takes as
// long for users that are not there.
func (c *settings) decoy() []byte {
	cost := minCost
	for _, u := range c.users {
		if n, err := bcrypt.Cost([]byte(u.PasswordHash.Reveal())); err == nil {
			cost = max(cost, n)
		}
	}
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat("a", 22+31))
}

func (c *settings) anyPassword() bool {
	for _, u := range c.users {
		if !u.PasswordHash.IsZero() {
			return true
		}
	}
	return false
}

func (k *conn) password(ctx context.Context, name string, password []byte) (*ssh.Permissions, error) {
	u := k.conf.users[name]
	hash, known := k.conf.decoy(), false
	if u != nil && !u.PasswordHash.IsZero() {
		hash, known = []byte(u.PasswordHash.Reveal()), true
	}
	right, err := k.server.guard.compare(ctx, hash, password)
	if err != nil {
		return nil, err
	}
	if right && known {
		return &ssh.Permissions{Extensions: map[string]string{
			extUser: u.Name, extCredential: passwordCredential + u.PasswordHash.Reveal(),
		}}, nil
	}
	k.server.refused(k.addr, name, "wrong user or password")
	if err := k.server.guard.pause(ctx, k.server.guard.failed(k.addr)); err != nil {
		return nil, err
	}
	return nil, errLogin
}

// maxCompares bounds the comparisons of passwords at one time: each takes a
// core for a quarter of a second.
const maxCompares = 2

// compare reports whether password is that of hash.
func (g *guard) compare(ctx context.Context, hash, password []byte) (bool, error) {
	select {
	case g.turns <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-g.turns }()
	return bcrypt.CompareHashAndPassword(hash, password) == nil, nil
}

// sleep waits for d, or for ctx to end.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
