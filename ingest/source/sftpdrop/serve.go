package sftpdrop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A conn is one connection.
type conn struct {
	server *Server
	net    *timedConn
	addr   string // without the port
	conf   *settings
	log    *slog.Logger
	tried  string // the user that was tried last

	// Under server.mu:
	user       *user  // nil: not logged in
	credential string // how the user got in: a key in wire format, or the hash

	mu       sync.Mutex
	sessions map[*session]struct{}
}

// Serve answers on ln until ctx ends, closes ln, and waits for the connections
// that came over it: uploads under way have a few seconds.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	var mine sync.Map // of this listener's connections
	defer closeQuiet(&mine)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	closed := context.AfterFunc(ctx, func() { ln.Close() })
	defer closed()
	wg.Go(func() {
		tick := time.NewTicker(expireEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.expire()
			case <-ctx.Done():
				return
			}
		}
	})
	for wait := 5 * time.Millisecond; ; {
		c, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("sftp server: %w", err)
		case err != nil: // out of descriptors, mostly: others close some
			s.log.Error("the sftp server cannot accept a connection", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
			continue
		}
		wait = 5 * time.Millisecond
		k := s.admit(c)
		if k == nil {
			c.Close()
			continue
		}
		mine.Store(k, nil)
		wg.Go(func() {
			defer mine.Delete(k)
			defer s.leave(k)
			k.serve(ctx)
		})
	}
}

// closeQuiet closes connections as their uploads end, and all of them after
// stopWithin.
func closeQuiet(conns *sync.Map) {
	deadline := time.Now().Add(stopWithin)
	for left := true; left; {
		left = false
		conns.Range(func(key, _ any) bool {
			k := key.(*conn)
			if time.Now().After(deadline) || !k.busy() && k.net.quiet() > quietAtStop {
				k.net.Close()
			} else {
				left = true
			}
			return true
		})
		if left {
			time.Sleep(stopLookEvery)
		}
	}
}

// admit counts a connection in, or refuses it.
func (s *Server) admit(c net.Conn) *conn {
	conf := s.conf.Load()
	addr := hostOf(c.RemoteAddr())
	why := ""
	if s.guard.barred(addr) {
		why = "too many failed logins from this address"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	same, strangers, here := 0, 0, network(addr)
	for k := range s.conns {
		if network(k.addr) == here {
			same++
		}
		if k.user == nil {
			strangers++
		}
	}
	switch {
	case why != "":
	case len(s.conns) >= conf.MaxConnections:
		why = "too many connections"
	case strangers >= maxUnknown:
		why = "too many connections that have not logged in"
	case same >= conf.MaxPerAddress:
		why = "too many connections from this address"
	default:
		k := &conn{
			server: s, addr: addr, conf: conf, sessions: map[*session]struct{}{},
			net: newTimedConn(c), log: s.log.With("address", c.RemoteAddr().String()),
		}
		s.conns[k] = struct{}{}
		return k
	}
	s.refused(addr, "", why)
	return nil
}

func (s *Server) leave(k *conn) {
	k.net.Close()
	s.mu.Lock()
	delete(s.conns, k)
	u := k.user
	s.mu.Unlock()
	if u != nil {
		u.give(&u.conns)
	}
}

// refused logs that somebody was turned away.
func (s *Server) refused(addr, user, why string) {
	ok, skipped := s.guard.say()
	if !ok {
		return
	}
	args := []any{"address", addr, "why", why}
	if user != "" {
		args = append(args, "user", quoted(user))
	}
	if skipped > 0 {
		args = append(args, "not_logged_before", skipped)
	}
	s.log.Warn("sftp connection refused", args...)
}

// serve talks to one client until it goes, or ctx ends and its uploads have.
func (k *conn) serve(ctx context.Context) {
	login, done := context.WithTimeout(ctx, k.server.login)
	defer done()
	k.net.SetDeadline(time.Now().Add(k.server.login))
	c, channels, requests, err := ssh.NewServerConn(k.net, k.loginConfig(login))
	if err != nil {
		var auth *ssh.ServerAuthError
		if errors.As(err, &auth) { // a stranger that goes away says nothing
			k.server.guard.failed(k.addr)
			k.server.refused(k.addr, k.tried, "nobody logged in")
		}
		return
	}
	defer c.Close()
	u, credential := k.conf.users[c.Permissions.Extensions[extUser]], c.Permissions.Extensions[extCredential]
	if why := k.enter(u, credential); why != "" {
		k.server.refused(k.addr, c.User(), why)
		return
	}
	k.log = k.log.With("user", u.Name)
	how := "password"
	if p := c.Permissions.Extensions[extPrint]; p != "" {
		how = p
	}
	k.log.Info("sftp login", "with", how, "client", quoted(string(c.ClientVersion())))
	defer k.log.Info("sftp logout")
	k.net.idle(k.conf.IdleTimeout)

	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.Close()
	wg.Go(func() { ssh.DiscardRequests(requests) })
	var open atomic.Int32
	for n := range channels {
		switch {
		case n.ChannelType() != "session":
			n.Reject(ssh.Prohibited, "this server does SFTP only")
			k.log.Warn("request refused", "request", quoted(n.ChannelType()), "why", "this server does SFTP only")
			continue
		case open.Load() >= maxChannels:
			n.Reject(ssh.ResourceShortage, "too many sessions in one connection")
			continue
		}
		ch, reqs, err := n.Accept()
		if err != nil {
			return
		}
		open.Add(1)
		wg.Go(func() {
			defer open.Add(-1)
			k.channel(ch, reqs)
		})
	}
}

// enter makes a connection that of a user.
func (k *conn) enter(u *user, credential string) (why string) {
	s := k.server
	if u == nil {
		return "the user is gone"
	}
	if err := u.home.open(u.Folders); err != nil {
		s.log.Error("a home of the sftp server cannot be used", "user", u.Name, "error", err)
		return "the user's home cannot be used"
	}
	if !u.take(&u.conns, u.MaxConnections) {
		return "too many connections of this user"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// A reload may have come in between.
	if now := s.conf.Load(); now != k.conf && !u.stillAdmits(now.users[u.Name], credential) {
		u.give(&u.conns)
		return "the user changed"
	}
	k.user, k.credential = u, credential
	return ""
}

// channel waits for the request for SFTP and serves it.
func (k *conn) channel(ch ssh.Channel, reqs <-chan *ssh.Request) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ch.Close()
	started := false
	for r := range reqs {
		ok := false
		switch r.Type {
		case "subsystem":
			var p struct{ Name string }
			ok = !started && ssh.Unmarshal(r.Payload, &p) == nil && p.Name == "sftp"
		case "env": // clients send these unasked
		default:
			k.log.Warn("request refused", "request", quoted(r.Type), "why", "this server does SFTP only")
		}
		if r.WantReply {
			r.Reply(ok, nil)
		}
		switch {
		case ok:
			started = true
			wg.Go(func() {
				defer ch.Close()
				k.sftp(ch)
			})
		case r.Type == "exec", r.Type == "shell", r.Type == "subsystem":
			return
		}
	}
}

func (k *conn) sftp(ch ssh.Channel) {
	s := &session{server: k.server, user: k.user, log: k.log, began: time.Now()}
	k.mu.Lock()
	k.sessions[s] = struct{}{}
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		delete(k.sessions, s)
		k.mu.Unlock()
	}()
	rs := sftp.NewRequestServer(newGate(ch), s.handlers(), sftp.WithRSAllocator())
	err := rs.Serve() // tells open uploads that they broke
	// It closes the channel. The status goes before: scp takes its absence for a failure.
	defer rs.Close()
	status := struct{ Status uint32 }{0}
	if err != nil && !errors.Is(err, io.EOF) {
		status.Status = 1
	}
	ch.SendRequest("exit-status", false, ssh.Marshal(&status))
}

func (k *conn) busy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for s := range k.sessions {
		if s.busy() {
			return true
		}
	}
	return false
}

// A timedConn ends where nothing comes for too long, or nothing goes.
type timedConn struct {
	net.Conn
	wait atomic.Int64 // nanoseconds; 0: deadlines are somebody else's
	last atomic.Int64 // when bytes came or went, on the monotonic clock
	born time.Time
}

func newTimedConn(c net.Conn) *timedConn { return &timedConn{Conn: c, born: time.Now()} }

// idle ends the deadline of the login and begins that of the idle.
func (t *timedConn) idle(d time.Duration) {
	t.wait.Store(int64(d))
	t.SetDeadline(time.Time{})
	t.SetReadDeadline(time.Now().Add(d))
}

func (t *timedConn) Read(p []byte) (int, error) {
	if d := t.wait.Load(); d > 0 {
		t.SetReadDeadline(time.Now().Add(time.Duration(d)))
	}
	n, err := t.Conn.Read(p)
	t.last.Store(int64(time.Since(t.born)))
	return n, err
}

func (t *timedConn) Write(p []byte) (int, error) {
	if t.wait.Load() > 0 {
		t.SetWriteDeadline(time.Now().Add(writeWithin))
	}
	n, err := t.Conn.Write(p)
	t.last.Store(int64(time.Since(t.born)))
	return n, err
}

// quiet is how long no byte came or went.
func (t *timedConn) quiet() time.Duration {
	return time.Since(t.born) - time.Duration(t.last.Load())
}
