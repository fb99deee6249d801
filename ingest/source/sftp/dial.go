package sftp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A Server is an SSH server and how to log in to it.
type Server struct {
	Host    string // host or host:port
	User    string
	Auth    Auth
	Pins    Pins
	Jump    *Server // by way of this one; it has no Jump of its own
	Timeout time.Duration
	// Legacy also allows SHA-1 signatures and key exchanges, CBC ciphers and
	// HMAC-SHA1-96, for servers that know nothing better. See config.
	Legacy bool
}

// dialWithin bounds the time from the first packet to the first directory, in
// both hops together, however patient timeout is.
const dialWithin = time.Minute

// address is host:port.
func (s *Server) address() string { return Address(s.Host) }

// Address is host as host:port, with SSH's port where there is none.
func Address(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "22")
}

// A LoginError says that the server refused every way to log in that there is.
type LoginError struct {
	Host, User string
	Err        error
}

func (e *LoginError) Error() string {
	return fmt.Sprintf("log in to %s as %s: the server refused: %v; check user, key and password with its owner", e.Host, e.User, e.Err)
}

func (e *LoginError) Unwrap() error { return e.Err }

// A dialer makes connections to one server.
type dialer struct {
	server *hop
	jump   *hop // nil: none
	within time.Duration
}

// A hop is a Server checked and compiled.
type hop struct {
	addr     string
	user     string
	keys     *hostKeys
	ways     *ways
	legacy   bool
	patience time.Duration
}

func newDialer(s Server) (*dialer, error) {
	d := &dialer{}
	var errs []error
	var err error
	if d.server, err = newHop(&s); err != nil {
		errs = append(errs, err)
	}
	if s.Jump != nil {
		j := *s.Jump
		j.Timeout = s.Timeout
		if j.Jump != nil {
			errs = append(errs, errors.New("jump: one jump host is enough"))
		}
		if d.jump, err = newHop(&j); err != nil {
			errs = append(errs, prefixed("jump", err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	d.within = min(dialWithin, d.server.patience)
	return d, nil
}

// prefixed puts key before each of joined errors.
func prefixed(key string, err error) error {
	var errs []error
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			errs = append(errs, fmt.Errorf("%s: %w", key, e))
		}
		return errors.Join(errs...)
	}
	return fmt.Errorf("%s: %w", key, err)
}

func newHop(s *Server) (*hop, error) {
	var errs []error
	h := &hop{addr: s.address(), user: s.User, legacy: s.Legacy, patience: cmp.Or(s.Timeout, DefaultTimeout)}
	if _, port, err := net.SplitHostPort(h.addr); err != nil || s.Host == "" || port == "" {
		errs = append(errs, fmt.Errorf("host: %q is no host or host:port", s.Host))
	}
	if s.User == "" {
		errs = append(errs, errors.New("user: is empty"))
	}
	var err error
	if h.keys, err = newHostKeys(h.addr, s.Pins, s.Legacy); err != nil {
		errs = append(errs, err)
	}
	if h.ways, err = newWays(s.Auth, s.Legacy); err != nil {
		errs = append(errs, prefixed("auth", err))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return h, nil
}

// connect is dial that says which key a server shows that has none of a pinned
// type.
func (d *dialer) connect(ctx context.Context) (*conn, error) {
	c, err := d.dial(ctx)
	var oe *offerError
	if errors.As(err, &oe) {
		if changed := d.changed(ctx, oe); changed != nil {
			err = changed
		}
	}
	return c, err
}

// dial connects, logs in and starts SFTP.
func (d *dialer) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.within,
		fmt.Errorf("not connected and logged in within %v", d.within))
	defer cancel()
	first := d.server
	if d.jump != nil {
		first = d.jump
	}
	raw, err := dialTCP(ctx, first.addr)
	if err != nil {
		return nil, err
	}
	c := &conn{watch: newWatch(raw, d.server.patience), quit: make(chan struct{})}
	stop := c.bind(ctx)
	if err := d.greet(ctx, c); err != nil {
		stop()
		if why := c.watch.why(); why != nil {
			err = why
		}
		c.end()
		return nil, fmt.Errorf("connect to %s: %w", d.server.addr, err)
	}
	if !stop() {
		c.end()
		return nil, fmt.Errorf("connect to %s: %w", d.server.addr, context.Cause(ctx))
	}
	c.ended.Go(c.keepAlive)
	return c, nil
}

// greet shakes hands over a new socket, by way of the jump host where there is
// one.
func (d *dialer) greet(ctx context.Context, c *conn) (err error) {
	var over net.Conn = c.watch
	if d.jump != nil {
		if c.over, err = d.jump.client(over); err != nil {
			return fmt.Errorf("by way of %s: %w", d.jump.addr, err)
		}
		if over, err = c.over.DialContext(ctx, "tcp", d.server.addr); err != nil {
			return fmt.Errorf("by way of %s: %w", d.jump.addr, err)
		}
	}
	if c.ssh, err = d.server.client(over); err != nil {
		return err
	}
	// One request answered by one READ of 32 KiB at most: the library's own
	// concurrent reads take a short answer for the end of the file.
	if c.Client, err = sftp.NewClient(c.ssh, sftp.UseConcurrentReads(false), sftp.MaxPacketChecked(chunk)); err != nil {
		return fmt.Errorf("start SFTP: %w", err)
	}
	_, c.posix = c.HasExtension("posix-rename@openssh.com")
	return nil
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return raw, err
}

// client shakes hands and logs in over a socket that somebody else closes when
// that takes too long.
func (h *hop) client(over net.Conn) (*ssh.Client, error) {
	auth, done, err := h.ways.methods()
	if err != nil {
		return nil, err
	}
	defer done()
	check := h.keys.checker()
	cfg := &ssh.ClientConfig{
		Config:            config(h.legacy),
		User:              h.user,
		Auth:              auth,
		HostKeyCallback:   check.see,
		HostKeyAlgorithms: h.keys.algorithms(),
	}
	sc, chans, reqs, err := ssh.NewClientConn(over, h.addr, cfg)
	if err == nil {
		return ssh.NewClient(sc, chans, reqs), nil
	}
	over.Close()
	switch {
	case check.refused != nil:
		return nil, check.refused
	case check.passed && loginRefused(err):
		return nil, &LoginError{h.addr, h.user, err}
	case !check.seen && noCommonHostKey(err):
		return nil, &offerError{h.addr, err}
	}
	return nil, err
}

// loginRefused reports whether a handshake failed because of who we are. The
// library has no type for it.
func loginRefused(err error) bool {
	var asked *questionError
	text := err.Error()
	return errors.As(err, &asked) || strings.Contains(text, "unable to authenticate") || strings.Contains(text, "uthentication failures") ||
		strings.Contains(text, "disconnect, reason 2:") || strings.Contains(text, "disconnect, reason 14:")
}

func noCommonHostKey(err error) bool {
	var ne *ssh.AlgorithmNegotiationError
	return errors.As(err, &ne) && strings.Contains(ne.What, "host key")
}

// config is the algorithms that are offered.
func config(legacy bool) ssh.Config {
	a := ssh.SupportedAlgorithms()
	c := ssh.Config{KeyExchanges: a.KeyExchanges, Ciphers: a.Ciphers}
	for _, m := range a.MACs {
		if m != ssh.HMACSHA1 || legacy {
			c.MACs = append(c.MACs, m)
		}
	}
	if legacy {
		c.KeyExchanges = append(c.KeyExchanges, ssh.InsecureKeyExchangeDH14SHA1, ssh.InsecureKeyExchangeDHGEXSHA1, ssh.InsecureKeyExchangeDH1SHA1)
		c.Ciphers = append(c.Ciphers, ssh.InsecureCipherAES128CBC, ssh.InsecureCipherTripleDESCBC)
		c.MACs = append(c.MACs, ssh.InsecureHMACSHA196)
	}
	return c
}
